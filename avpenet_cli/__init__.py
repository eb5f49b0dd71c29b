"""avpenet: offline scoring of recorded clinical procedures for pain, from face and voice together."""

__version__ = "0.1.0"
