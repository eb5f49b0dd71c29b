"""The networks and their loss. This package, `registry` and `architecture` import no torch."""
