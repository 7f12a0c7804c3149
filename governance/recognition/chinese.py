"""The Chinese pack: identifiers, plates, addresses and named people, as rules over folded text.

Formats and checks follow the national standards named beside each check in `checksums`; the tests
hold the published and verified vectors. Codes are case-sensitive; all patterns are linear.
"""

from typing import Final

from governance.recognition.checksums import hkid, id15, luhn, mod11_2, taiwan_id, uscc
from governance.recognition.rules import Gate, Rule, bounded, compact

_DAY: Final = r"(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_TAIL: Final = _DAY + r"\d{3}[\dXx]"
MOBILE: Final = (
    r"(?:(?:\+|00)?86[- ]?)?"
    r"1(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])[- ]?\d{4}[- ]?\d{4}"
)
_HAN: Final = "[一-龥]"
_PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏"
    "薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武"
    "乔贺赖龚文"
)
_COMPOUND: Final = (
    "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|长孙|宇文|司徒|夏侯|轩辕|端木|南宫|独孤|百里|呼延|东郭|西门|拓跋|完颜|"
    "澹台|公羊|钟离|闻人|濮阳|申屠|鲜于|闾丘|歐陽|司馬|諸葛|東方|長孫|獨孤"
)
COMPOUND_SURNAMES: Final = frozenset(_COMPOUND.split("|"))
# Words that begin like a name and are none.
NO_NAMES: Final = frozenset(
    [
        "高兴",
        "马上",
        "方便",
        "江苏",
        "万元",
        "文件",
        "任务",
        "金额",
        "方案",
        "白天",
        "黄金",
        "石油",
        "田地",
        "常见",
    ]
)

_NAME: Final = f"(?:(?:{_COMPOUND}){_HAN}{{1,2}}|[{SURNAMES}]{_HAN}{{1,2}})"
_DOTTED: Final = f"{_HAN}{{1,8}}(?:·{_HAN}{{1,8}}){{1,3}}"
_TITLES: Final = "先生|女士|小姐|同志|老师|医生|主任|经理|律师|教授|護士|护士|醫生"
_CUES: Final = "姓名|联系人|收件人|患者|法定代表人|聯繫人|聯絡人|客户|户主|申请人"
_PLATE: Final = (
    rf"[{_PROVINCES}][A-HJ-NP-Z][·. -]?(?:[DABCEFGHJK][A-HJ-NP-Z\d]\d{{4}}|\d{{5}}[DABCEFGHJK]"
    r"|[A-HJ-NP-Z\d]{4}[A-HJ-NP-Z\d挂学警港澳])"
)
_PROVINCE_NAMES: Final = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州"
    "|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门|臺灣|廣東|廣西|江蘇|重慶|遼寧|雲南|寧夏|澳門"
)
_REGION: Final = (
    rf"(?>(?:{_HAN}{{2,8}}?(?:省|自治区))?)(?>{_HAN}{{2,8}}?(?:市|州|盟))"
    rf"(?>{_HAN}{{1,8}}?(?:区|县|旗|市))"
)
_ROAD: Final = r"(?>[一-龥\d]{1,16}?(?:路|街|巷|道|村|镇|乡))"
_ROOMS: Final = r"(?:[A-Za-z\d]{1,5}(?:栋|幢|座|单元|层|楼|室|房)){0,4}(?: ?\d{6}(?!\d))?"
# Region, district, road, number. Each level is atomic: it ends at its first suffix, or the levels
# together would try every split of a text made of suffixes.
_ADDRESS: Final = rf"{_REGION}{_ROAD}[一-龥\d-]{{0,10}}?\d{{1,5}}(?:号|弄|栋|號){_ROOMS}"
_ANCHORED: Final = (
    rf"(?:{_PROVINCE_NAMES}){_HAN}{{1,20}}?(?:路|街|巷|道|村|镇|乡)"
    rf"[一-龥]{{0,6}}?[A-Za-z\d]{{1,5}}(?:号楼|号|弄|栋|幢|座|室|號){_ROOMS}"
)
_LOCAL: Final = (
    rf"{_HAN}{{2,6}}?(?:市|区|县|镇|區|縣){_HAN}{{1,10}}?(?:路|街|巷|道|弄)"
    rf"\d{{1,5}}(?:号|弄|號){_ROOMS}"
)
_WECHAT: Final = r"[A-Za-z][-_A-Za-z0-9]{5,19}"
_QQ: Final = r"[1-9]\d{4,10}"
_IS: Final = r"(?:号|号码|ID|id)?[:： ]?[是为]?[:： ]?"  # what stands between a label and its value


def _card(text: str) -> bool:
    return luhn(compact(text))


def _identity(text: str) -> bool:
    return mod11_2(compact(text))


def _person(text: str) -> bool:
    return text[:2] not in NO_NAMES


RULES: Final[tuple[Rule, ...]] = (
    Rule("CN_ID", "CN_ID", bounded(r"[1-8]\d{5}" + _TAIL), Gate.NUMBER, 0.9, 1.0, mod11_2),
    Rule(
        "CN_ID spaced",
        "CN_ID",
        bounded(rf"[1-8]\d{{5}}[- ]{_DAY}[- ]\d{{3}}[\dXx]"),
        Gate.NUMBER,
        0.9,
        1.0,
        _identity,
    ),
    Rule(
        "CN_RESIDENCE",
        "CN_RESIDENCE",
        bounded(r"8[123]0000" + _TAIL),
        Gate.NUMBER,
        0.95,
        1.0,
        mod11_2,
    ),
    Rule(
        "CN_FOREIGN_PR",
        "CN_FOREIGN_PR",
        bounded(r"9\d{5}" + _TAIL),
        Gate.NUMBER,
        0.9,
        1.0,
        mod11_2,
    ),
    Rule(
        "CN_ID15",
        "CN_ID15",
        bounded(r"[1-8]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}"),
        Gate.NUMBER,
        0.4,
        0.85,
        id15,
    ),
    Rule(
        "CN_MOBILE",
        "CN_MOBILE",
        bounded(MOBILE),
        Gate.NUMBER,
        0.7,
        0.95,
    ),
    Rule(
        "CN_LANDLINE",
        "CN_LANDLINE",
        bounded(r"0(?:10|2[0-57-9]|[3-9]\d\d)[- ][2-8]\d{6,7}(?:[-转]\d{1,6})?"),
        Gate.NUMBER,
        0.65,
        0.9,
    ),
    Rule(
        "CN_LANDLINE unbroken",
        "CN_LANDLINE",
        bounded(r"0(?:10|2[0-57-9]|[3-9]\d\d)[2-8]\d{6,7}(?:[-转]\d{1,6})?"),
        Gate.NUMBER,
        0.4,
        0.8,
    ),
    Rule(
        "CN_USCC",
        "CN_USCC",
        bounded(r"[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}"),
        Gate.CODE,
        0.85,
        1.0,
        uscc,
    ),
    Rule(
        "CN_BANK_CARD",
        "CN_BANK_CARD",
        bounded(r"(?=\d{15,19}(?!\d))(?:62|60|955[89]|[345])\d+"),
        Gate.NUMBER,
        0.9,
        1.0,
        _card,
        failed=0.6,
    ),
    Rule(
        "CN_BANK_CARD spaced",
        "CN_BANK_CARD",
        bounded(r"(?:62|60|95|[345]\d)\d\d(?:[- ]\d{4}){3}(?:[- ]\d{1,3})?"),
        Gate.NUMBER,
        0.9,
        1.0,
        _card,
        failed=0.6,
    ),
    Rule(
        "CN_PASSPORT",
        "CN_PASSPORT",
        bounded(r"(?:E[\dA-HJ-NP-Z]\d{7}|G\d{8}|[DSP]E\d{7})"),
        Gate.CODE,
        0.55,
        0.9,
    ),
    Rule(
        "CN_PASSPORT older",
        "CN_PASSPORT",
        bounded(r"(?:[DSP]\d{7,8}|1[45]\d{7})"),
        Gate.CODE,
        0.2,
        0.8,
    ),
    Rule("CN_HM_TRAVEL", "CN_HM_TRAVEL", bounded(r"C[\dA-HJ-NP-Z]\d{7}"), Gate.CODE, 0.4, 0.85),
    Rule("HOME_RETURN", "HOME_RETURN", bounded(r"[HM]\d{8}(?:\d\d)?"), Gate.CODE, 0.4, 0.85),
    Rule("TW_COMPATRIOT", "TW_COMPATRIOT", bounded(r"\d{8}(?:\d\d)?"), Gate.NUMBER, 0.05, 0.75),
    Rule("HKID", "HKID", bounded(r"[A-Z]{1,2}\d{6}(?:\([\dA]\)|[\dA])"), Gate.CODE, 0.6, 1.0, hkid),
    Rule("TW_ID", "TW_ID", bounded(r"[A-Z][1289]\d{8}"), Gate.CODE, 0.6, 1.0, taiwan_id),
    Rule("CN_PLATE", "CN_PLATE", bounded(_PLATE), Gate.HAN, 0.8, 0.95),
    Rule(
        "CN_WECHAT",
        "CN_WECHAT",
        bounded(_WECHAT, masked=True),
        Gate.WORD,
        0.05,
        0.7,
        header_only=True,
    ),
    Rule(
        "CN_WECHAT labeled",
        "CN_WECHAT",
        bounded(rf"(?<=(?:微信|微信号|[Ww]e[Cc]hat|[Ww]eixin){_IS}){_WECHAT}", masked=True),
        Gate.LABEL,
        0.75,
        0.8,
    ),
    Rule(
        "CN_QQ", "CN_QQ", bounded(_QQ, masked=True), Gate.FIVE_DIGITS, 0.05, 0.7, header_only=True
    ),
    Rule(
        "CN_QQ labeled",
        "CN_QQ",
        bounded(rf"(?<=(?:[Qq][Qq]|[Qq][Qq]号|企鹅号|扣扣){_IS}){_QQ}", masked=True),
        Gate.LABEL,
        0.75,
        0.8,
    ),
    Rule("IMEI", "IMEI", bounded(r"\d{15}"), Gate.NUMBER, 0.2, 0.9, luhn),
    Rule(
        "MAC",
        "MAC_ADDRESS",
        bounded(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"),
        Gate.NETWORK,
        0.7,
        0.9,
    ),
    Rule(
        "CN_MEDREC",
        "CN_MEDREC",
        bounded(r"(?<=(?:住院|病案|病历|门诊|就诊卡|登记)号[:： ]?)[A-Z0-9-]{6,14}", masked=True),
        Gate.HAN,
        0.8,
        0.8,
    ),
    Rule(
        "CN_SSC_CARD",
        "CN_SSC_CARD",
        bounded(r"(?<=(?:社保卡号|社会保障卡号)[:： ]?)[A-Z0-9]{8}[\dX]", masked=True),
        Gate.HAN,
        0.85,
        0.85,
    ),
    Rule("CN_ADDRESS", "CN_ADDRESS", bounded(_ADDRESS), Gate.HAN, 0.8, 0.9),
    Rule("CN_ADDRESS anchored", "CN_ADDRESS", bounded(_ANCHORED), Gate.HAN, 0.8, 0.9),
    Rule("CN_ADDRESS local", "CN_ADDRESS", bounded(_LOCAL), Gate.HAN, 0.65, 0.85),
    Rule(
        "CN_PERSON",
        "PERSON",
        bounded(
            rf"{_NAME}(?={_TITLES})|(?<=(?:{_CUES})[:： ]){_NAME}|(?<=(?:{_CUES})[:： ]){_DOTTED}"
        ),
        Gate.HAN,
        0.75,
        0.75,
        _person,
    ),
)
