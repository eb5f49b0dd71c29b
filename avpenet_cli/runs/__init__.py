"""What every long run needs: journal, manifest, lock, callbacks, versions, device."""
