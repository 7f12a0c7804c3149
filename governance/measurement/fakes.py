"""One line an entity: how a value is made that is nobody's, and what people call it.

| entity | why nobody holds it |
|---|---|
| CN_ID and kin, DATE_OF_BIRTH | born before 1901 |
| US_SSN, US_ITIN | area 9xx with a group below 50; serial 0000 |
| PHONE_NUMBER | 555-0100 to 555-0199, kept for fiction |
| cards | prefixes 620000 and 400000 of test cards |
| IBAN_CODE | bank code of zeros |
| UK_NHS, US_MBI, IMEI, MAC_ADDRESS, IP_ADDRESS | ranges for tests and documents |
| EMAIL_ADDRESS, URL | example.com and its kin (RFC 2606) |
| CRYPTO | the hash of no key that anybody has |
| HKID | two letters that were never given together |
| COORDINATES | in the Southern Ocean |
| VIN | a maker's code that nobody has |
| passports, permits, records, codes | serials of zeros |

China keeps no range of mobile numbers, plates or QQ numbers for fiction, Taiwan none of identity
numbers: those are random digits, or the first serials, beside an invented name.
"""

import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from governance.measurement import drawing
from governance.measurement.drawing import Draw
from governance.recognition.checksums import burgerservicenummer, my_number, nir, nric, vin
from governance.recognition.entities import ENTITIES

ZH, EN, HANT = "zh", "en", "zh-Hant"
_MOBILE: Final = (
    "133",
    "135",
    "136",
    "138",
    "139",
    "150",
    "158",
    "166",
    "177",
    "186",
    "188",
    "199",
)
_PLATES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_AREAS: Final = ("010", "021", "0755", "0571", "028", "0512")
_PLACES_HANT: Final = ("臺北市", "高雄市", "臺中市", "九龍", "新竹縣")
_STATES: Final = ("已完成", "处理中", "closed", "open", "pending", "退回")
_PRODUCTS: Final = (
    "白云边陈酿", "马蹄糕", "黄金饼", "高兴就好贴纸", "Jordan sneakers", "Rose lamp", "May planner",
)  # fmt: skip
_HOSTS: Final = ("example.com", "example.net", "example.org")
_CODES: Final = ("201", "212", "312", "415", "503", "617", "713", "808")


@dataclass(frozen=True, slots=True)
class Fake:
    """How one entity is made up.

    Attributes:
        entity: its name in the catalog.
        make: draws a value.
        headers: what a helpful column is called; empty where it never fills a cell.
        said: language -> what a sentence calls it. Where a language is missing, nobody would write
            this in it. An empty word: the value needs none.
        grouped: a value may be written in full-width digits or with invisible characters inside.
    """

    entity: str
    make: Callable[[Draw], str]
    headers: tuple[str, ...]
    said: dict[str, str]
    grouped: bool = True


def _spaced(draw: Draw, text: str, *cuts: int, joints: str = " -") -> str:
    """Now and then with spaces or hyphens where people put them."""
    if not draw.chance(0.3):
        return text
    joint = draw.one(joints)
    ends = [*cuts, len(text)]
    return joint.join(text[a:b] for a, b in zip([0, *cuts], ends, strict=True))


def _resident(draw: Draw, lead: str = "") -> str:
    return drawing.resident((lead or draw.one(draw.regions)) + draw.birth_day() + draw.digits(3))


def _cn_id(draw: Draw) -> str:
    return _spaced(draw, _resident(draw), 6, 14)


def _id15(draw: Draw) -> str:
    """Sequence numbers 996 to 999 were kept for people born in the 1800s."""
    month, day = draw.between(1, 12), draw.between(1, 28)
    born = f"{draw.between(50, 99)}{month:02d}{day:02d}"
    return f"{draw.one(draw.regions)}{born}{draw.between(996, 999)}"


def _mobile(draw: Draw) -> str:
    bare = draw.one(_MOBILE) + draw.digits(8)
    lead = draw.one(["+86 ", "86-", "+86"]) if draw.chance(0.15) else ""
    return lead + _spaced(draw, bare, 3, 7)


def _landline(draw: Draw) -> str:
    extension = f"转{draw.digits(3)}" if draw.chance(0.2) else ""
    return f"{draw.one(_AREAS)}-{draw.between(2, 8)}{draw.digits(7)}{extension}"


def _phone(draw: Draw) -> str:
    code, line = draw.one(_CODES), f"01{draw.digits(2)}"
    shape = draw.one(["{0}-555-{1}", "({0}) 555-{1}", "+1 {0} 555 {1}", "{0}.555.{1}"])
    return shape.format(code, line)


def _uscc(draw: Draw) -> str:
    while True:
        body = f"91{draw.one(draw.regions)}00000{draw.digits(3)}{draw.between(0, 9)}"
        if len(body) == 17:  # noqa: PLR2004 - GB 32100 without its check character
            return drawing.credit_code(body)


def _plate(draw: Draw) -> str:
    head = f"{draw.one(_PLATES)}{draw.letters(1, 'ABCDEFGHJK')}"
    tail = f"D{draw.digits(5)}" if draw.chance(0.3) else draw.letters(1) + draw.digits(4)
    return head + draw.one(["", "·"]) + tail


def _iban(draw: Draw) -> str:
    whole = drawing.iban("DE", f"00000000{draw.digits(10)}")
    return _spaced(draw, whole, 4, 8, 12, 16, 20, joints=" ")


def _taiwan(draw: Draw) -> str:
    return drawing.taiwan(f"{draw.letters(1, 'ABCDEFGH')}{draw.one('12')}00000{draw.digits(2)}")


def _hkid(draw: Draw) -> str:
    return drawing.hong_kong(draw.one(["ZZ", "QQ", "YY"]) + draw.digits(6))


def _ssn(draw: Draw) -> str:
    return f"9{draw.digits(2)}-{draw.between(1, 49):02d}-{draw.between(1, 9999):04d}"


def _nhs(draw: Draw) -> str:
    """Numbers that begin with 999 are for tests; weights 10 … 2 modulo 11."""
    while True:
        found = drawing.weighted(f"999{draw.digits(6)}", range(10, 1, -1), 11, "0123456789")
        if found is not None:
            return _spaced(draw, found, 3, 6, joints=" ")


def _npi(draw: Draw) -> str:
    """ISO 7812 over 80840 and the number, whose first ones were never given."""
    return drawing.card(f"808401000000{draw.digits(2)}")[5:]


def _routing(draw: Draw) -> str:
    """Weights 3 7 1; no bank has the number 0000."""
    return (
        drawing.weighted(f"0000{draw.digits(4)}", (3, 7, 1, 3, 7, 1, 3, 7), 10, "0123456789") or ""
    )


def _dea(draw: Draw) -> str:
    """Σ of digits 1, 3, 5 and twice Σ of 2, 4, 6; its last digit is the seventh."""
    d = f"0000{draw.digits(2)}"
    total = sum(int(d[i]) for i in (0, 2, 4)) + 2 * sum(int(d[i]) for i in (1, 3, 5))
    return f"{draw.letters(1, 'ABFGMP')}{draw.letters(1)}{d}{total % 10}"


def _mbi(draw: Draw) -> str:
    """The specimen on CMS's card is 1EG4-TE5-MK73; no number given begins so."""
    return f"1EG4-TE5-{draw.letters(2, 'ACDEFGHJKMNPQRTUVWXY')}{draw.digits(2)}"


def _email(draw: Draw) -> str:
    return f"{draw.one(draw.accounts)}{draw.between(1, 999)}@{draw.one(_HOSTS)}"


def _ip(draw: Draw) -> str:
    if draw.chance(0.2):
        return f"2001:db8::{draw.letters(4, '0123456789abcdef')}:{draw.between(1, 99)}"
    net = draw.one(["192.0.2", "198.51.100", "203.0.113"])
    return f"{net}.{draw.between(1, 254)}"


def _wallet(draw: Draw) -> str:
    return drawing.base58check(b"\0" * 9 + draw.rng.randbytes(12))


def _url(draw: Draw) -> str:
    path = f"{draw.one(draw.accounts)}/{draw.digits(4)}"
    return f"{draw.one(['https://', 'http://', 'www.'])}{draw.one(_HOSTS)}/{path}"


def _wechat(draw: Draw) -> str:
    return draw.one(
        [f"wxid_test{draw.digits(5)}", f"{draw.one(draw.accounts)[:12]}_{draw.digits(4)}"]
    )


def _imei(draw: Draw) -> str:
    """Type allocation codes that begin with 00 are for tests."""
    return drawing.card(f"0010{draw.digits(10)}")


def _order(draw: Draw) -> str:
    return draw.one([f"20231108{draw.digits(6)}", f"SO-{draw.digits(7)}", f"DD{draw.digits(10)}"])


def _sea(draw: Draw) -> str:
    south, east = draw.between(50, 59), draw.between(60, 99)
    return f"-{south}.{draw.digits(5)}, {east}.{draw.digits(5)}"


def _vin(draw: Draw) -> str:
    """The ninth character is the check digit; no maker has the code ZZZ."""
    head, tail = "ZZZ" + draw.letters(5, "ABCDEFGHJKLMN12345"), f"A{draw.digits(7)}"
    return next(whole for c in "0123456789X" if vin(whole := head + c + tail))


def _nir(draw: Draw) -> str:
    """Born before 1901, by a year of two digits; the order number 000 is not given."""
    body = f"1{draw.between(50, 99)}{draw.between(1, 12):02d}75{draw.between(1, 900):03d}000"
    return next(whole for key in range(1, 98) if nir(whole := f"{body}{key:02d}"))


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID: Final = {ZH: "身份证号", EN: "Chinese ID number", HANT: "身份證號"}

FAKES: Final[tuple[Fake, ...]] = (
    Fake("CN_ID", _cn_id, ("身份证号", "id_card", "证件号码"), _ID),
    Fake("CN_ID15", _id15, ("身份证号",), {ZH: "身份证号"}),
    Fake("CN_RESIDENCE", lambda d: _resident(d, f"8{d.between(1, 3)}0000"), ("居住证号",),
         {ZH: "居住证号", HANT: "居住證號"}),
    Fake("CN_FOREIGN_PR", lambda d: _resident(d, f"9{d.digits(5)}"), ("永居证",), {ZH: "永居证号"}),
    Fake("CN_MOBILE", _mobile, ("手机号", "mobile", "联系方式"),
         {ZH: "手机", EN: "Chinese mobile", HANT: "手機"}),
    Fake("CN_LANDLINE", _landline, ("固定电话", "座机"), {ZH: "座机", HANT: "電話"}),
    Fake("PHONE_NUMBER", _phone, ("phone", "cell_phone"), {EN: "phone", ZH: "美国电话"}),
    Fake("EMAIL_ADDRESS", _email, ("email", "电子邮箱"), {ZH: "邮箱", EN: "e-mail", HANT: "郵箱"}),
    Fake("CN_BANK_CARD", lambda d: _spaced(d, drawing.card(f"620000{d.digits(12)}"), 4, 8, 12, 16),
         ("银行卡号", "bank_card"), {ZH: "银行卡号", HANT: "銀行卡號"}),
    Fake("CREDIT_CARD", lambda d: _spaced(d, drawing.card(f"400000{d.digits(9)}"), 4, 8, 12),
         ("credit_card", "信用卡号"), {ZH: "信用卡号", EN: "card", HANT: "信用卡號"}),
    Fake("US_SSN", _ssn, ("ssn",), {EN: "SSN", ZH: "社安号"}),
    Fake("US_ITIN", lambda d: f"9{d.digits(2)}-{d.between(70, 88)}-0000", ("itin",), {EN: "ITIN"}),
    Fake("US_BANK_NUMBER", lambda d: f"0000{d.digits(8)}", ("account_number",),
         {EN: "checking account"}),
    Fake("IBAN_CODE", _iban, ("iban",), {EN: "IBAN", ZH: "IBAN账号"}),
    Fake("CN_USCC", _uscc, ("统一社会信用代码", "税号"), {ZH: "统一社会信用代码"}),
    Fake("CN_PASSPORT", lambda d: f"E0000{d.digits(4)}", ("护照号",),
         {ZH: "护照号", EN: "Chinese passport", HANT: "護照號"}),
    Fake("US_PASSPORT", lambda d: f"00000{d.digits(4)}", ("passport_number",), {EN: "passport"}),
    Fake("US_DRIVER_LICENSE", lambda d: f"Z0000{d.digits(3)}", ("driver_license",),
         {EN: "driver license"}),
    Fake("US_MBI", _mbi, ("mbi",), {EN: "Medicare number"}),
    Fake("US_NPI", _npi, ("npi",), {EN: "NPI"}),
    Fake("ABA_ROUTING_NUMBER", _routing, ("routing_number",), {EN: "routing number"}),
    Fake("MEDICAL_LICENSE", _dea, ("dea",), {EN: "DEA number"}),
    Fake("UK_NHS", _nhs, ("nhs_number",), {EN: "NHS number"}),
    Fake("UK_NINO", lambda d: f"P{d.one('YZ')}0000{d.digits(2)}{d.one('ABCD')}", ("nino",),
         {EN: "national insurance number"}),
    Fake("CN_HM_TRAVEL", lambda d: f"C0000{d.digits(4)}", ("港澳通行证",),
         {ZH: "港澳通行证", HANT: "通行證"}),
    Fake("HOME_RETURN", lambda d: f"{d.one('HM')}0000{d.digits(4)}", ("回乡证",),
         {ZH: "回乡证", HANT: "回鄉證"}),
    Fake("TW_COMPATRIOT", lambda d: f"0000{d.digits(4)}", ("台胞证",),
         {ZH: "台胞证", HANT: "台胞證"}),
    Fake("HKID", _hkid, ("香港身份证", "hkid"), {ZH: "香港身份证", EN: "HKID", HANT: "香港身份證"}),
    Fake("TW_ID", _taiwan, ("身分證字號",), {HANT: "身分證字號"}),
    Fake("CN_SSC_CARD", lambda d: f"{d.letters(1)}0000{d.digits(4)}", ("社保卡号",),
         {ZH: "社保卡号"}),
    Fake("CN_MEDREC", lambda d: f"ZY0000{d.digits(4)}", ("住院号", "病案号"), {ZH: "住院号"}),
    Fake("CN_PLATE", _plate, ("车牌号",), {ZH: "车牌", HANT: "車牌"}, grouped=False),
    Fake("CN_ADDRESS", lambda d: d.one(d.chinese_addresses), ("地址", "收货地址"), {ZH: "地址"},
         grouped=False),
    Fake("STREET_ADDRESS", lambda d: d.one(d.english_addresses), ("address", "home_address"),
         {EN: "address"}, grouped=False),
    Fake("DATE_OF_BIRTH", lambda d: d.birth_said(chinese=d.chance(0.5)), ("出生日期", "dob"),
         {ZH: "出生日期", EN: "date of birth", HANT: "出生日期"}, grouped=False),
    Fake("CN_WECHAT", _wechat, ("微信号",), {ZH: "微信号", EN: "WeChat"}, grouped=False),
    Fake("CN_QQ", lambda d: f"{d.between(1, 9)}{d.digits(8)}", ("qq",), {ZH: "QQ号"}),
    Fake("IMEI", _imei, ("imei",), {ZH: "串号", EN: "IMEI"}),
    Fake("MAC_ADDRESS", lambda d: f"00:00:5E:00:53:{d.letters(2, '0123456789ABCDEF')}",
         ("mac_address",), {ZH: "网卡地址", EN: "MAC address"}),
    Fake("IP_ADDRESS", _ip, ("ip",), {ZH: "登录IP", EN: "IP address"}),
    Fake("CRYPTO", _wallet, ("wallet",), {ZH: "钱包地址", EN: "wallet"}, grouped=False),
    Fake("UUID", lambda d: str(uuid.UUID(bytes=d.rng.randbytes(16), version=4)), ("uuid",),
         {EN: "device id", ZH: "设备号"}, grouped=False),
    Fake("SAR_PASSPORT", lambda d: f"{d.one(['K0', 'MA'])}000{d.digits(4)}", ("特区护照",),
         {ZH: "特区护照", HANT: "特區護照"}),
    Fake("MACAU_ID", lambda d: f"1/0000{d.digits(2)}/{d.digits(1)}", ("澳门身份证",),
         {ZH: "澳门身份证", HANT: "澳門身份證"}),
    Fake("VIN", _vin, ("vin", "车架号"), {ZH: "车架号", EN: "VIN", HANT: "車架號"}),
    Fake("CN_POSTCODE", lambda d: f"{d.between(10, 85)}{d.digits(4)}", ("邮编",),
         {ZH: "邮编", HANT: "郵編"}),
    Fake("COORDINATES", _sea, ("coordinates", "经纬度"),
         {ZH: "坐标", EN: "coordinates", HANT: "座標"}),
    # Of other countries: in a set that is made for their regimes.
    Fake("FR_NIR", _nir, ("nir",), {EN: "NIR"}),
    Fake("NL_BSN", lambda d: drawing.drawn_until(d, burgerservicenummer, "00000", 4), ("bsn",),
         {EN: "BSN"}),
    Fake("JP_MY_NUMBER", lambda d: drawing.with_check(f"0000000{d.digits(4)}", my_number),
         ("my number",), {EN: "My Number"}),
    Fake("SG_NRIC_FIN", lambda d: drawing.with_check(f"S0000{d.digits(3)}", nric, _LETTERS),
         ("nric",), {EN: "NRIC"}),
    Fake("URL", _url, ("homepage", "主页"), {ZH: "主页", EN: "homepage"}, grouped=False),
)  # fmt: skip

# Names and places stand in sentences without a word before them, and fill columns of their own.
NAMES: Final[dict[str, Fake]] = {
    ZH: Fake("PERSON", lambda d: d.one(d.chinese_names), ("姓名", "联系人"), {}, grouped=False),
    HANT: Fake("PERSON", lambda d: d.one(d.traditional_names), ("姓名",), {}, grouped=False),
    EN: Fake(
        "PERSON", lambda d: d.one(d.english_names), ("name", "customer_name"), {}, grouped=False
    ),
}
PLACES: Final[dict[str, Fake]] = {
    ZH: Fake("LOCATION", lambda d: d.one(d.chinese_cities), (), {}, grouped=False),
    HANT: Fake("LOCATION", lambda d: d.one(_PLACES_HANT), (), {}, grouped=False),
    EN: Fake("LOCATION", lambda d: d.one(d.english_cities), (), {}, grouped=False),
}  # fmt: skip


def fakes_of(regimes: Collection[str]) -> list[Fake]:
    """What is searched for under these regimes."""
    return [
        fake
        for fake in FAKES
        if not (only := ENTITIES[fake.entity].only) or not set(only).isdisjoint(regimes)
    ]


def entities(regimes: Collection[str]) -> frozenset[str]:
    """Every entity that a set made for these regimes holds."""
    made: Iterable[Fake] = (*fakes_of(regimes), *NAMES.values(), *PLACES.values())
    return frozenset(fake.entity for fake in made)


@dataclass(frozen=True, slots=True)
class Nothing:
    """What is nobody's, though it looks like somebody's; fields as in `Fake`."""

    headers: tuple[str, ...]
    said: dict[str, str]
    make: Callable[[Draw], str]


NOTHINGS: Final[tuple[Nothing, ...]] = (
    Nothing(("order_no", "订单号"), {ZH: "订单号", EN: "order", HANT: "訂單"}, _order),
    Nothing(("amount", "金额"), {ZH: "金额", EN: "amount", HANT: "金額"},
            lambda d: f"{d.between(1, 9)},{d.digits(3)}.{d.digits(2)}"),
    Nothing(("created_at", "下单日期"), {ZH: "日期", EN: "date", HANT: "日期"},
            lambda d: f"20{d.between(20, 25)}-{d.between(1, 12):02d}-{d.between(1, 28):02d}"),
    Nothing(("version", "版本"), {ZH: "版本", EN: "version", HANT: "版本"},
            lambda d: f"v{d.between(1, 9)}.{d.between(0, 30)}.{d.between(0, 9)}"),
    Nothing(("tracking_no", "运单号"), {ZH: "运单号", EN: "tracking", HANT: "運單"},
            lambda d: drawing.card(f"{d.one('789')}{d.digits(14)}")),
    Nothing(("sku", "货号"), {ZH: "货号", EN: "part", HANT: "貨號"},
            lambda d: f"{d.letters(3)}-{d.digits(4)}-{d.letters(1)}"),
    Nothing(("quantity", "数量"), {ZH: "数量", EN: "quantity", HANT: "數量"},
            lambda d: str(d.between(1, 500))),
    Nothing(("status", "状态"), {}, lambda d: d.one(_STATES)),
    Nothing(("product", "商品"), {}, lambda d: d.one(_PRODUCTS)),
    Nothing(("isbn", "书号"), {ZH: "书号", EN: "ISBN"},
            lambda d: f"978-7-{d.digits(4)}-{d.digits(4)}-{d.digits(1)}"),
)  # fmt: skip
