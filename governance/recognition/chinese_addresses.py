"""Chinese postal addresses by their levels, in simplified and traditional characters.

A rule's score follows how many levels (province, city, district, street, number) its pattern holds:
three or more are an address wherever they stand, two are one as a rule, a street and a number alone
need a word beside them. A region without a street (广东省深圳市南山区) is never reported: it is a
place and no address, and it is what generalizing an address leaves.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

import regex

from governance.recognition.folding import fold
from governance.recognition.rules import Gate, Rule, bounded

Level = Literal["province", "city"]

_HAN: Final = "[一-龥]"
_PROVINCE_NAMES: Final = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|"
    "广东|海南"
    "|四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
    "|重慶|遼寧|黑龍江|江蘇|山東|廣東|貴州|雲南|陝西|甘肅|臺灣|內蒙古|廣西|寧夏|澳門"
)
_CITY_STATES: Final = frozenset(["北京", "天津", "上海", "重庆", "重慶", "香港", "澳门", "澳門"])
_REGIONS: Final = frozenset(["香港", "澳门", "澳門"])  # no 市 belongs to their names
_LONG_CITIES: Final = (
    "呼和浩特|乌鲁木齐|齐齐哈尔|鄂尔多斯|呼伦贝尔|乌兰察布|克拉玛依|巴彦淖尔|锡林郭勒|大兴安岭|"
    "烏魯木齊"
)
_WAY: Final = "路|街|巷|道|村|镇|乡|鎮|鄉|弄|胡同|屯|庄"
_ESTATE: Final = (
    "小区|小區|花园|花園|公寓|大厦|大廈|广场|廣場|新村|家园|家園|嘉园|嘉園|国际|苑|邨|中心"
)
# Each level is atomic: it ends at its first suffix, or the levels together would try every split of
# a text made of suffixes.
_REGION: Final = (
    rf"(?>(?:{_HAN}{{2,8}}?(?:省|自治区|自治區))?)(?>{_HAN}{{2,8}}?(?:市|州|盟|縣|地区))"
    rf"(?>{_HAN}{{1,8}}?(?:区|县|旗|市|區|縣|鄉|鎮))"
)
_ROAD: Final = rf"(?>[一-龥\d]{{1,16}}?(?:{_WAY}|{_ESTATE}))"
_NUMBER: Final = (
    r"(?:[A-Za-z]?\d{1,5}(?:[-之]\d{1,4})?|[一二三四五六七八九十百零〇]{1,5})"
    r"(?:号楼|號樓|号院|号|弄|栋|幢|號|棟|组|組)"
)
_PARTS: Final = "号楼|號樓|号|號|栋|幢|座|单元|层|楼|室|房|户|棟|單元|層|樓|戶"
_ROOMS: Final = (
    rf"(?:之\d{{1,3}})?(?:{_HAN}{{1,8}}?(?:{_ESTATE}))?"
    rf"(?:[A-Za-z]?\d{{1,5}}[A-Za-z]?(?:-\d{{1,4}})?(?:{_PARTS})){{0,5}}"
    r"(?:[A-Za-z]?\d{1,4}(?:-\d{1,4}){0,3}(?![\d年月日%]|[.,]\d))?(?: ?\d{6}(?!\d))?"
)
_ADDRESS: Final = rf"{_REGION}{_ROAD}[一-龥\d-]{{0,10}}?{_NUMBER}{_ROOMS}"
_ANCHORED: Final = (
    rf"(?:{_PROVINCE_NAMES}){_HAN}{{1,20}}?(?:{_WAY}|{_ESTATE}){_HAN}{{0,6}}?"
    rf"(?:{_NUMBER}|[A-Za-z\d]{{1,5}}(?:座|室)){_ROOMS}"
)
_LOCAL: Final = (
    rf"{_HAN}{{2,6}}?(?:市|区|县|镇|區|縣|鎮){_HAN}{{1,10}}?(?:路|街|巷|道|弄|胡同|村|{_ESTATE})"
    rf"{_NUMBER}{_ROOMS}"
)
# The word before it (家住, 寄到) is context and no part of the street.
_STREET: Final = (
    rf"(?!家住|寄到|送到|[住在到址]){_HAN}{{2,8}}?(?:路|街|巷|大道|弄|胡同|{_ESTATE})"
    rf"{_NUMBER}{_ROOMS}"
)

RULES: Final[tuple[Rule, ...]] = (
    Rule("CN_ADDRESS", "CN_ADDRESS", bounded(_ADDRESS), Gate.HAN, 0.8, 0.9),
    Rule("CN_ADDRESS anchored", "CN_ADDRESS", bounded(_ANCHORED), Gate.HAN, 0.8, 0.9),
    Rule("CN_ADDRESS local", "CN_ADDRESS", bounded(_LOCAL), Gate.HAN, 0.65, 0.85),
    Rule("CN_ADDRESS street", "CN_ADDRESS", bounded(_STREET), Gate.HAN, 0.4, 0.75),
)

_LEVELS: Final = regex.compile(
    rf"(?:中国|中國|中华人民共和国)?"
    rf"(?P<province>(?:{_PROVINCE_NAMES})(?:省|市|(?:壮族|回族|维吾尔|壯族|維吾爾)?自治[区區]|"
    "特别行政区"
    r"|特別行政區)?)?"
    rf"(?P<city>(?:{_LONG_CITIES})(?:市|盟|地区)|{_HAN}{{2,3}}?(?:市|地区|盟|縣)|"
    rf"{_HAN}{{2,9}}?自治州)?"
    rf"(?P<district>{_HAN}{{1,7}}?(?:新区|自治县|自治旗|林区|区|县|旗|市|區|縣))?"
    rf"(?P<town>{_HAN}{{1,6}}?(?:街道|镇|乡|鎮|鄉))?"
    rf"(?P<street>[一-龥\d]{{1,16}}?(?:路|街|巷|道|村|弄|胡同|里|{_ESTATE}))?"
    rf"(?P<number>.{{0,10}}?{_NUMBER}.*)?"
)


@dataclass(frozen=True, slots=True)
class Levels:
    """What each level of an address says; the empty string where a level is not there.

    A municipality (北京市) is a province and has no city of its own.
    """

    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    street: str = ""
    number: str = ""

    def found(self) -> int:
        """How many levels are there, 0 to 6."""
        parts = (self.province, self.city, self.district, self.town, self.street, self.number)
        return sum(map(bool, parts))


def levels(address: str) -> Levels:
    """The levels of an address, read from its beginning."""
    text = re.sub(r"\s+", "", fold(address).text)[:200]
    match = _LEVELS.match(text)
    if match is None:
        return Levels()
    return Levels(**{name: match[name] or "" for name in Levels.__slots__})


def truncate(address: str, level: Level) -> str | None:
    """An address down to its province or city; None where no such level is certain.

    北京市朝阳区… is 北京市 both as a province and as a city. A city without its province is
    certain only before something else of an address: in 王小明市场部 there is none. There is no
    level below: without a list of districts, 王小明家小区 would be one.
    """
    read = levels(address)
    bare = read.province.rstrip("市")
    if bare in _CITY_STATES or bare[:2] in _CITY_STATES:
        return bare if bare in _REGIONS or bare not in _CITY_STATES else f"{bare}市"
    if level == "province":
        return read.province or None
    below = read.district or read.town or read.street
    return read.province + read.city if read.city and (read.province or below) else None
