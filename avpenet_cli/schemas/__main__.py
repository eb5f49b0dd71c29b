"""Write the schemas again: `python -m avpenet_cli.schemas`."""

from pathlib import Path

from avpenet_cli.schemas import write_schemas

write_schemas(Path(__file__).parent)
