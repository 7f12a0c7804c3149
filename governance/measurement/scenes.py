"""Sentences as people write them, by language and scene, with places for what is personal.

`{PERSON}`, `{LOCATION}` and any other entity stand for a value of it; `{fact}` for the entity of
which the row was made, with the word that people put before it; `{nothing}` for something that is
nobody's, with its word; `{=words:ENTITY}` for these very words. The scene "negative" holds
sentences without a person, made of words that look like names.
"""

from typing import Final

CHINESE: Final[dict[str, tuple[str, ...]]] = {
    "chat": (
        "在吗？我是{PERSON}，{fact}，麻烦登记一下。",
        "亲，{fact}，收到后给我回个话。",
        "刚和{PERSON}聊过，对方说{fact}，让我们明天联系。",
        "{PERSON}说下周去{LOCATION}出差，{fact}不变。",
        "这是我的{fact}，别发给别人哈",
    ),
    "medical": (
        "患者{PERSON}，{fact}，因头痛三天入院，既往体健。",
        "{PERSON}今晨复查，血压132/84，{fact}，家属{PERSON}签字。",
        "会诊记录：{PERSON}主诉胸闷，{fact}，建议随访。",
        "出院小结已交{PERSON}，{fact}，两周后门诊复诊。",
    ),
    "support": (
        "客户{PERSON}来电，{fact}，反映{nothing}一直未到账。",
        "工单升级：{fact}，用户{PERSON}要求今天处理。",
        "已核实{PERSON}的{fact}，{nothing}，问题解决。",
        "用户投诉{nothing}，留下{fact}，等待回访。",
    ),
    "delivery": (
        "请把包裹送到{CN_ADDRESS}，收件人{PERSON}，{fact}。",
        "{nothing}，收件人：{PERSON}，{fact}，放门口即可。",
        "快递员说{PERSON}不在家，{fact}，改约周六。",
    ),
    "complaint": (
        "我叫{PERSON}，{fact}，你们的员工{PERSON}态度恶劣。",
        "投诉人{PERSON}称{fact}被泄露，要求书面答复。",
        "本人{fact}，多次致电无人处理，特此投诉！",
    ),
    "hr": (
        "新员工{PERSON}已报到，{fact}，工位在三楼。",
        "{PERSON}推荐{PERSON}应聘会计，{fact}，请安排面试。",
        "请人事部更新{PERSON}的档案：{fact}。",
    ),
    "bank": (
        "借款人{PERSON}，{fact}，由{PERSON}提供担保。",
        "与{PERSON}面签完成，{fact}，{nothing}。",
        "还款提醒：{PERSON}您好，{fact}，请于月底前还清。",
        "经查，{PERSON}名下{fact}，征信正常，同意放款。",
    ),
    "negative": (
        "马上安排发货，黄金周不休息，{nothing}。",
        "高兴地通知大家，文件已经归档，{nothing}。",
        "方便的话请先确认{nothing}，再走审批流程。",
        "系统升级到{nothing}之后，白天偶尔会卡顿。",
        "万元以下的任务不用上报，{=江苏:LOCATION}分公司照旧，{nothing}。",
        "会议改到周三下午，石油板块的方案下次再谈。",
        "质检合格，{nothing}，常见问题见附件。",
    ),
}

TRADITIONAL: Final[dict[str, tuple[str, ...]]] = {
    "chat": (
        "您好，我是{PERSON}，{fact}，麻煩登記一下。",
        "剛和{PERSON}通過電話，對方說{fact}，請明天聯繫。",
    ),
    "medical": ("患者{PERSON}，{fact}，因頭痛三天入院，既往體健。",),
    "support": (
        "客戶{PERSON}來電，{fact}，反映{nothing}尚未到帳。",
        "已核實{PERSON}的{fact}，問題解決。",
    ),
    "bank": ("借款人{PERSON}，{fact}，由{PERSON}提供擔保，現居{LOCATION}。",),
    "negative": ("系統升級之後，白天偶爾會卡頓，{nothing}。", "會議改到週三下午，方案下次再談。"),
}

ENGLISH: Final[dict[str, tuple[str, ...]]] = {
    "chat": (
        "hey it's {PERSON}, {fact}, can you update my profile?",
        "Talked to {PERSON} just now, {fact}, they will call back tomorrow.",
        "Can you send it to me? {fact}. Thanks!",
        "{PERSON} moves to {LOCATION} in spring, {fact} stays the same.",
    ),
    "medical": (
        "{PERSON} was admitted with chest pain for three days, {fact}, no known allergies.",
        "Follow-up with {PERSON}: blood pressure 132/84, {fact}. Next of kin is {PERSON}.",
        "Discharge papers were handed to {PERSON}, {fact}, review in two weeks.",
    ),
    "support": (
        "Customer {PERSON} called, {fact}, says {nothing} never arrived.",
        "Escalated: {fact}, {PERSON} wants an answer today.",
        "Verified {PERSON}, {fact}; {nothing}, closing the ticket.",
        "User complains about {nothing} and left {fact} for a call back.",
    ),
    "delivery": (
        "Please leave the parcel at {STREET_ADDRESS}, attention {PERSON}, {fact}.",
        "Driver says {PERSON} was not in, {fact}, rebooked for Saturday.",
    ),
    "complaint": (
        "My name is {PERSON}, {fact}, and your agent {PERSON} was rude to me.",
        "{PERSON} claims that {fact} was leaked and asks for a written answer.",
    ),
    "hr": (
        "New hire {PERSON} started today, {fact}, desk on the third floor.",
        "{PERSON} referred {PERSON} for the accounting job, {fact}.",
    ),
    "bank": (
        "Borrower {PERSON}, {fact}, co-signed by {PERSON}.",
        "Spoke with {PERSON} about the loan, {fact}, {nothing}.",
        "Confirmed that {fact} belongs to {PERSON}, approve at the standard rate.",
    ),
    "negative": (
        "Please mark the box and grant access in May, {nothing}.",
        "The Rose Garden plan will chase late bills, {nothing}.",
        "Upgrade to {nothing} fixed the crash on start.",
        "Meeting moved to Wednesday; the grant proposal waits until March.",
        "Inspection passed, {nothing}, see the appendix for frequent questions.",
        "Total due is shown in the invoice, {nothing}, net thirty days.",
    ),
}

# In Chinese sentences that take an English word or name along, and the reverse.
MIXED: Final[dict[str, tuple[str, ...]]] = {
    "support": (
        "客户{EN:PERSON}来电，{fact}，order一直没有update。",
        "Hi team，{PERSON}的{fact}，please check一下。",
        "{EN:PERSON}发来email说{fact}，cc了{PERSON}。",
        "Spoke with {PERSON} in the {=Shanghai:LOCATION} office, {fact}, 请跟进。",
    ),
    "hr": ("新同事{EN:PERSON}（中文名{PERSON}）on board，{fact}。",),
    "negative": ("这个bug在{nothing}里fix了，马上release。", "Deadline改到下周三，see附件。"),
}
