"""Everything that is fuzzed, by name."""

from __future__ import annotations

from tests.fuzz.campaign import Target
from tests.fuzz.targets.commands import COMMANDS
from tests.fuzz.targets.documents import DOCUMENTS
from tests.fuzz.targets.importers import IMPORTERS
from tests.fuzz.targets.media import MEDIA, SCORE
from tests.fuzz.targets.outputs import OUTPUTS
from tests.fuzz.targets.stores import STORES
from tests.fuzz.targets.tables import TABLES
from tests.fuzz.targets.training import TRAINING
from tests.fuzz.targets.weights import WEIGHTS

_TARGETS = (TABLES, DOCUMENTS, IMPORTERS, OUTPUTS, WEIGHTS, STORES, COMMANDS, MEDIA, SCORE, TRAINING)
TARGETS: dict[str, Target] = {target.name: target for target in _TARGETS}
