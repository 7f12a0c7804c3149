"""The free-text column: what a loan officer types, with people in it and where each one stands.

A third of the notes are stock phrases without a person, a sixth name a relationship manager (and
come again and again), the rest are about the applicant and whoever else was on the phone.
"""

import random
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Final, NamedTuple


class Span(NamedTuple):
    """One planted entity: characters [start, end) of a cell."""

    start: int
    end: int
    entity: str


class Phrases(NamedTuple):
    """The templates of one language; a field is a planted value, `{job}` is nobody's."""

    stock: Sequence[str]
    manager: Sequence[str]
    about: Sequence[str]
    joint: str


_STOCK_SHARE: Final = 0.35
_MANAGER_SHARE: Final = 0.5  # cumulated
_SECOND_SENTENCE: Final = 0.4

CHINESE: Final = Phrases(
    stock=(
        "资料齐全，等待复核。",
        "已完成面签，征信报告正常。",
        "收入证明缺少公章，已通知补交。",
        "客户要求延长还款期限。",
        "申请材料已归档。",
        "电话未接通，明日再联系。",
        "抵押物评估已完成，进入审批流程。",
        "客户对利率有异议，已解释。",
    ),
    manager=(
        "{manager}已完成贷前调查，未见异常。",
        "本件由{manager}负责跟进。",
        "请转{manager}复核额度。",
        "客户经理{manager}建议按标准利率审批。",
    ),
    about=(
        "{person}来电咨询贷款进度，请回拨{mobile}。",
        "已与{other}核实，{person}的身份证号为{national_id}。",
        "{person}委托配偶{other}代办，材料发送至{email}。",
        "申请人{person}现任{job}，收入情况由{other}证明。",
        "紧急联系人{other}，与申请人{person}为同事关系。",
        "{manager}已上门核实{person}的住址：{address}。",
        "还款账户{bank_card}已绑定，{person}确认无误。",
        "{person}反映手机号{mobile}已停用，改用邮箱{email}联系。",
        "今天和{person}谈过，他说{other}愿意做担保人。",
        "{other}到网点投诉，称未曾为{person}担保。",
    ),
    joint="",
)
ENGLISH: Final = Phrases(
    stock=(
        "All documents received, waiting for review.",
        "Credit report is clean; moved to underwriting.",
        "Pay stub is missing a page, customer was told.",
        "Customer asked for a longer repayment term.",
        "File closed and archived.",
        "No answer by phone, will try again tomorrow.",
        "Appraisal is done, no objection.",
        "Customer disputes the rate; explained the pricing.",
    ),
    manager=(
        "{manager} finished the site visit and found nothing unusual.",
        "This file is handled by {manager}.",
        "Please forward to {manager} for a second look at the limit.",
        "{manager} recommends approval at the standard rate.",
    ),
    about=(
        "{person} called about the status of the loan, call back at {mobile}.",
        "Spoke with {other}, who confirmed that the SSN of {person} is {national_id}.",
        "{person} wants the papers sent to {email} and copied to {other}.",
        "{person} works as {job}; {other} will confirm the salary.",
        "Emergency contact is {other}, a colleague of {person}.",
        "{manager} visited {person} at {address} and saw the property.",
        "Card {bank_card} is linked for repayment, {person} agreed.",
        "{person} no longer uses {mobile}, write to {email} instead.",
        "Met {person} today, who said that {other} is willing to co-sign.",
        "{other} complained at the branch about never having co-signed for {person}.",
    ),
    joint=" ",
)


def write(
    rng: random.Random,
    phrases: Phrases,
    values: Mapping[str, str],
    entities: Mapping[str, str],
) -> tuple[str, tuple[Span, ...]]:
    """One note of one or two sentences, and the entities planted in it.

    Args:
        rng: decides everything.
        phrases: the templates of the row's language.
        values: field -> what stands for it in this row.
        entities: field -> entity; a field that is not in it is nobody's.
    """
    kind = rng.random()
    if kind < _STOCK_SHARE:
        chosen = [rng.choice(phrases.stock)]
    elif kind < _MANAGER_SHARE:
        chosen = [rng.choice(phrases.manager)]
    else:
        chosen = [rng.choice(phrases.about)]
        if rng.random() < _SECOND_SENTENCE:
            chosen.append(rng.choice(phrases.stock))
    text = ""
    spans: list[Span] = []
    for before, field, _, _ in Formatter().parse(phrases.joint.join(chosen)):
        text += before
        if field is not None:
            value = values[field]
            if field in entities:
                spans.append(Span(len(text), len(text) + len(value), entities[field]))
            text += value
    return text, tuple(spans)
