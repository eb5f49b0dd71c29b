"""What reporting guidelines ask of a study, answered from the document as far as possible.

GRRAS and the Bland-Altman items concern agreement, STARD-AI diagnostic accuracy, TRIPOD+AI prediction models. The items
are in our own words.
"""

from __future__ import annotations

from avpenet_cli.report.checklist.accuracy_items import stard_ai
from avpenet_cli.report.checklist.agreement_items import gerke, grras
from avpenet_cli.report.checklist.prediction_items import tripod_ai
from avpenet_cli.report.document import ReportDocument
from avpenet_cli.report.document.review import ChecklistItem

GRRAS, GERKE, STARD_AI, TRIPOD_AI = "GRRAS 2011", "Gerke 2020", "STARD-AI 2025", "TRIPOD+AI 2024"


def checklist(document: ReportDocument) -> tuple[ChecklistItem, ...]:
    """All items, in the order of their guidelines.

    Args:
        document: complete except for its checklist.
    """
    guidelines = (
        (GRRAS, grras(document)),
        (GERKE, gerke(document)),
        (STARD_AI, stard_ai(document)),
        (TRIPOD_AI, tripod_ai(document)),
    )
    return tuple(
        ChecklistItem(source, number, item, status, text)
        for source, items in guidelines
        for number, item, (status, text) in items
    )
