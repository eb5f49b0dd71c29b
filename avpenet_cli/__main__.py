"""`python -m avpenet_cli` is `avpenet`."""

from avpenet_cli.cli import main

main()
