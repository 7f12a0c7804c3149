"""report.html: the page of a bundle that people read. One file, no script, no font, no request.

English and Chinese stand in the same page; two radio buttons and a style rule switch them. It
holds ids, counts and digests, and no personal data: what the entries' public fields say.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from audit.canonical import canonical
from audit.checkpoint import TreeHead, VerifierKey
from audit.events import Outcome
from audit.reports.layout import iso_time

_STYLE: Final = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_SHOWN_ACTORS: Final = 25
_WIDTH, _HEIGHT = 1000, 100  # of the picture, in its own units
_WIDEST_BAR = 0.04  # of the width: a single day is a bar, not a wall


@dataclass(frozen=True, slots=True)
class Summary:
    """What the entries of a bundle add up to.

    Attributes:
        entries: how many there are.
        pending: entries of the scope that the tree does not hold yet.
        outcomes: (event, outcome) -> entries.
        actors: actor -> entries.
        days: ISO date -> entries.
        first: the lowest place in the log, None without entries.
        last: the highest.
        checkpoint: the signed note.
    """

    entries: int
    pending: int
    outcomes: Counter[tuple[str, str]]
    actors: Counter[str]
    days: Counter[str]
    first: int | None
    last: int | None
    checkpoint: str


def render(
    summary: Summary,
    head: TreeHead,
    log_key: VerifierKey,
    scope: Mapping[str, Any],
    generated_at: int,
    previous: TreeHead | None,
) -> str:
    """The page as HTML text; the same arguments give the same bytes."""
    sections = [
        _cards(summary, head),
        _timeline(summary.days),
        _events(summary.outcomes),
        _actors(summary.actors),
        _scope(scope),
        _tree(summary, head, log_key, previous),
        _how_to_verify(log_key),
        _what_it_proves(),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Evidence report · 证据报告 · {escape(head.origin)}</title>
<style>
{_STYLE}</style>
</head>
<body>
<input class="switch" type="radio" name="language" id="show-en" checked>
<input class="switch" type="radio" name="language" id="show-zh">
<main>
<header>
<div class="languages"><label for="show-en">English</label><label for="show-zh">中文</label></div>
<h1>{_both("Evidence report", "证据报告")}</h1>
<p class="soft">{_both("Log", "日志")} <code>{escape(head.origin)}</code> ·
{_both("made", "生成于")} <time>{iso_time(generated_at)}</time></p>
</header>
{"".join(sections)}</main>
</body>
</html>
"""


def _both(english: str, chinese: str) -> str:
    """One text in both languages; the arguments are ours and hold no markup but our own."""
    return f'<span lang="en">{english}</span><span lang="zh-Hans">{chinese}</span>'


def _section(english: str, chinese: str, content: str) -> str:
    return f"<section>\n<h2>{_both(english, chinese)}</h2>\n{content}</section>\n"


def _cards(summary: Summary, head: TreeHead) -> str:
    by_outcome: Counter[str] = Counter()
    for (_, outcome), count in summary.outcomes.items():
        by_outcome[outcome] += count
    shown = [
        ("", summary.entries, "entries", "条记录"),
        ("done", by_outcome[Outcome.DONE.value], "done", "已完成"),
        ("denied", by_outcome[Outcome.DENIED.value], "denied", "被拒绝"),
        ("failed", by_outcome[Outcome.FAILED.value], "failed", "失败"),
        ("", head.size, "entries in the whole log", "日志总条数"),
    ]
    if summary.pending:
        shown.append(("", summary.pending, "not yet in the signed tree", "尚未纳入已签名的树"))
    cards = "".join(
        f'<div class="card {kind}"><b>{count:,}</b>{_both(english, chinese)}</div>\n'
        for kind, count, english, chinese in shown
    )
    return f'<div class="cards">\n{cards}</div>\n'


def _timeline(days: Counter[str]) -> str:
    if not days:
        empty = _both("There is no entry in this scope.", "此范围内没有记录。")
        return _section("Entries by day", "按日统计", f"<p>{empty}</p>\n")
    dates = sorted(days)
    step, most = _WIDTH / len(dates), max(days.values())
    wide = min(step * 0.84, _WIDTH * _WIDEST_BAR)
    bars = "".join(
        f'<rect x="{number * step + (step - wide) / 2:.2f}" width="{wide:.2f}"'
        f' y="{_HEIGHT - days[date] * _HEIGHT / most:.2f}"'
        f' height="{days[date] * _HEIGHT / most:.2f}">'
        f"<title>{date}: {days[date]:,}</title></rect>"
        for number, date in enumerate(dates)
    )
    return _section(
        "Entries by day",
        "按日统计",
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none">{bars}</svg>\n'
        f'<p class="axis"><span>{dates[0]}</span><span>{dates[-1]}</span></p>\n',
    )


def _events(outcomes: Counter[tuple[str, str]]) -> str:
    names = sorted({event for event, _ in outcomes})
    rows = [
        [f"<code>{escape(event)}</code>"]
        + [f"{outcomes[event, outcome.value]:,}" for outcome in Outcome]
        for event in names
    ]
    heads = [
        _both("Event", "事件"),
        _both("done", "已完成"),
        _both("denied", "被拒绝"),
        _both("failed", "失败"),
    ]
    return _section("What happened", "发生了什么", _table(heads, rows))


def _actors(actors: Counter[str]) -> str:
    most = sorted(actors.items(), key=lambda item: (-item[1], item[0]))
    rows = [[f"<code>{escape(actor)}</code>", f"{n:,}"] for actor, n in most[:_SHOWN_ACTORS]]
    if rest := most[_SHOWN_ACTORS:]:
        others = _both(f"{len(rest):,} others", f"其余 {len(rest):,} 个")
        rows.append([others, f"{sum(count for _, count in rest):,}"])
    heads = [_both("Actor", "操作者"), _both("entries", "条数")]
    return _section("Who acted", "由谁操作", _table(heads, rows))


def _scope(scope: Mapping[str, Any]) -> str:
    rows = [
        [f"<code>{escape(str(name))}</code>", f"<code>{escape(_text(value))}</code>"]
        for name, value in sorted(scope.items())
    ]
    return _section("What was asked for", "报告范围", _table(["", ""], rows, numbers=False))


def _tree(summary: Summary, head: TreeHead, log_key: VerifierKey, previous: TreeHead | None) -> str:
    places = "—" if summary.first is None else f"{summary.first:,} – {summary.last:,}"
    rows = [
        [_both("Leaves", "叶子数"), f"{head.size:,}"],
        [_both("Places of these entries", "本报告记录所在位置"), places],
        [_both("Root", "根哈希"), f"<code>{head.root.hex()}</code>"],
        [
            _both("Fingerprint of the log's key", "日志公钥指纹"),
            f"<code>{log_key.fingerprint}</code>",
        ],
    ]
    if previous is not None:
        since = f"{previous.size:,} <code>{previous.root.hex()}</code>"
        rows.append([_both("Extends the earlier tree of", "延续自此前的树"), since])
    content = _table(["", ""], rows, numbers=False)
    return _section(
        "The signed tree", "已签名的树", f"{content}<pre>{escape(summary.checkpoint)}</pre>\n"
    )


def _how_to_verify(log_key: VerifierKey) -> str:
    english = (
        "Compare the fingerprint above with the one you were handed by another way. Then run this"
        " with the key you were handed; it needs no network and no database."
    )
    chinese = (
        "请将上方指纹与您通过其他渠道获得的指纹比对，再使用该公钥运行以下命令；无需联网或数据库。"
    )
    command = f"python -m audit.verify BUNDLE --vkey '{log_key}'"
    codes = [
        ["0", _both("verified", "验证通过")],
        ["1", _both("broken: something was changed", "已损坏：内容被改动")],
        ["2", _both("not readable as a bundle", "无法作为报告包读取")],
        ["5", _both("consistent, but the signer was not authenticated", "自洽，但未核实签名者")],
    ]
    heads = [_both("Exit code", "退出码"), _both("Meaning", "含义")]
    content = (
        f"<p>{_both(english, chinese)}</p>\n<pre>{escape(command)}</pre>\n"
        f"{_table(heads, codes, numbers=False)}"
    )
    return _section("How to verify", "如何验证", content)


def _what_it_proves() -> str:
    english = (
        "Each entry stands in the log at its place and was not changed since the checkpoint was"
        " signed; the log is the same for everyone who holds a checkpoint of it. Private values"
        " are not here: an entry holds salted commitments to them."
    )
    chinese = (
        "每条记录都位于日志的既定位置，自检查点签名以来未被改动；所有持有其检查点的人看到的是同一份"
        "日志。私密值不在此报告中：记录只含其加盐承诺。"
    )
    limits_english = (
        "It does not prove that everything was recorded. For that, compare receipts, usage and"
        " predictions with the entries by request id."
    )
    limits_chinese = "它并不证明一切均已记录。为此，请按请求编号将回执、用量与预测同这些记录核对。"
    return _section(
        "What this proves",
        "它证明什么",
        f"<p>{_both(english, chinese)}</p>\n<p>{_both(limits_english, limits_chinese)}</p>\n",
    )


def _table(heads: list[str], rows: Iterable[list[str]], *, numbers: bool = True) -> str:
    """A table; the cells are markup already. All columns but the first are `numbers`."""
    kind = ' class="n"' if numbers else ""

    def line(cells: list[str], tag: str) -> str:
        first, *others = cells
        rest = "".join(f"<{tag}{kind}>{cell}</{tag}>" for cell in others)
        return f"<tr><{tag}>{first}</{tag}>{rest}</tr>\n"

    head = f"<thead>{line(heads, 'th')}</thead>\n" if any(heads) else ""
    body = "".join(line(row, "td") for row in rows)
    return f'<div class="scroll"><table>\n{head}<tbody>\n{body}</tbody>\n</table></div>\n'


def _text(value: Any) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else canonical(value).decode()
