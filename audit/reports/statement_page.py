"""statement.pdf: the statement that people read and file, English and Chinese side by side."""

from typing import Final

from audit.reports.pdf import BOLD, CHINESE, FIXED, HEIGHT, MARGIN, PLAIN, WIDTH, Page, document
from audit.reports.statements import Line, Statement

_PER_PAGE: Final = 11  # lines, each of three rows
_STEP: Final = 32.0
_TOP: Final = 190.0
# Where each figure ends; heads in English and Chinese.
_FIGURES: Final = (
    (470, "calls", "调用次数"),
    (550, "units", "计量单位"),
    (630, "charged", "计费单位"),
    (710, "price", "单价"),
    (WIDTH - MARGIN, "amount", "金额"),
)
_ENGLISH: Final = (
    "Every charged call stands in the log. Verify the bundle that this page came with: "
    "python -m audit.verify BUNDLE"
)
_CHINESE: Final = "每次计费调用均在日志中有记录；请用上述命令离线验证随附的报告包。"


def render(statement: Statement, checkpoint: str) -> bytes:
    """The file; `checkpoint` is the signed note that the bundle's proofs lead to."""
    lines = statement.lines
    chunks = [lines[n : n + _PER_PAGE] for n in range(0, len(lines), _PER_PAGE)] or [()]
    pages = []
    for number, chunk in enumerate(chunks, start=1):
        page = Page()
        _head(page, statement, f"{number} / {len(chunks)}")
        for row, line in enumerate(chunk):
            _line(page, _TOP + row * _STEP, line)
        if number == len(chunks):
            _foot(page, statement, _TOP + len(chunk) * _STEP, checkpoint)
        pages.append(page)
    return document(pages)


def _head(page: Page, statement: Statement, count: str) -> None:
    page.text(MARGIN, 56, 18, BOLD, "Statement of usage")
    page.text(MARGIN + 180, 56, 16, CHINESE, "用量对账单")
    page.flush_right(WIDTH - MARGIN, 56, 10, count)
    facts = (
        ("Month (UTC)", "月份", statement.month),
        ("Customer", "客户", statement.customer),
        ("Log", "日志", f"{statement.origin}, places before {statement.until:,}"),
    )
    for row, (english, chinese, value) in enumerate(facts):
        y = 80 + row * 16
        page.text(MARGIN, y, 9, PLAIN, english)
        page.text(MARGIN + 70, y, 9, CHINESE, chinese)
        page.text(MARGIN + 130, y, 9, FIXED, value)
    if not statement.complete:
        page.text(MARGIN, 130, 9, BOLD, f"Not final: {statement.pending:,} calls pending")
        page.text(MARGIN + 190, 130, 9, CHINESE, "非最终版：本月未结束或尚有调用未入账")
    page.text(MARGIN, 152, 9, BOLD, "model, kind of call")
    page.text(MARGIN, 164, 9, CHINESE, "模型与调用类型")
    for right, english, chinese in _FIGURES:
        page.flush_right(right, 152, 9, english)
        page.text(right - 9 * len(chinese), 164, 9, CHINESE, chinese)
    page.rule(170)


def _line(page: Page, y: float, line: Line) -> None:
    page.text(MARGIN, y, 10, BOLD, f"{line.model} · {line.sku}")
    price = "-" if line.price is None else f"{line.price} {line.currency}"
    amount = "-" if line.amount is None else f"{line.amount} {line.currency}"
    figures = (f"{line.calls:,}", f"{line.units:,}", f"{line.charged:,}", price, amount)
    for (right, _, _), figure in zip(_FIGURES, figures, strict=True):
        page.flush_right(right, y, 9, figure)
    places = f"places {line.first_index:,} - {line.last_index:,} of the log"
    page.text(MARGIN, y + 10, 7, FIXED, f"license {line.license}   {places}")
    page.text(MARGIN, y + 18, 7, FIXED, f"leaves sha256 {line.leaves}")


def _foot(page: Page, statement: Statement, y: float, checkpoint: str) -> None:
    page.rule(y - 6)
    charged = sum(line.charged for line in statement.lines)
    page.text(MARGIN, y + 8, 10, BOLD, "Total")
    page.text(MARGIN + 40, y + 8, 10, CHINESE, "合计")
    page.flush_right(_FIGURES[2][0], y + 8, 9, f"{charged:,}")
    for row, (currency, amount) in enumerate(statement.amounts().items()):
        page.flush_right(WIDTH - MARGIN, y + 8 + 12 * row, 9, f"{amount} {currency}")
    # The head of the signed tree, and where the proofs are.
    bottom = min(max(y + 34, HEIGHT - 66.0), HEIGHT - 30.0)
    head = checkpoint.split("\n")[:3]
    page.text(MARGIN, bottom, 7, FIXED, "signed tree: " + " ".join(head))
    page.text(MARGIN, bottom + 10, 7, PLAIN, _ENGLISH)
    page.text(MARGIN, bottom + 20, 7, CHINESE, _CHINESE)
