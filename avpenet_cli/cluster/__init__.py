"""The shards of one output and their merge, run as jobs: of a batch system, or side by side on this machine."""
