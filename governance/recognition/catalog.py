"""The catalog of entities: what may be found, how sensitive it is, what is done to it by default.

`sensitivity` is that of PIPL Art. 28: `S` sensitive, `G` general personal information. `operator`
is the configuration of an anonymization operator as it travels in a column plan. `headers` are
words that name such a column, `context` words that stand beside such a value in text; both Chinese
and English. An ASCII word matches whole words in any case, a Chinese word matches anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from governance.recognition.countries import DOCUMENTS

Operator = Mapping[str, str | int]

PSEUDONYM: Final[Operator] = MappingProxyType({"operator": "pseudonym"})
TOKEN: Final[Operator] = MappingProxyType({"operator": "token"})
REDACT: Final[Operator] = MappingProxyType({"operator": "redact"})
REPLACE: Final[Operator] = MappingProxyType({"operator": "replace"})
MASK: Final[Operator] = MappingProxyType({"operator": "mask"})
KEEP: Final[Operator] = MappingProxyType({"operator": "keep"})


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of personal data."""

    name: str
    sensitivity: Literal["S", "G"]
    operator: Operator
    headers: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    regime: str = "any"  # whose people carry it: "cn", "us", "eu", or "any"
    only: tuple[str, ...] = ()  # the regimes under which alone it is searched for; (): all


def _entity(
    name: str,
    sensitivity: Literal["S", "G"],
    operator: Operator,
    headers: str = "",
    context: str = "",
    regime: str = "any",
) -> Entity:
    return Entity(name, sensitivity, operator, _words(headers), _words(context), regime)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


_ID_WORDS: Final = (
    "身份证,身份證,身份号码,证件号,證件號,公民身份,national id,id card,id no,identity,sfz"
)
_CITY: Final[Operator] = MappingProxyType({"operator": "generalize", "to": "city"})

# A post code names a region and a plate a car: what is done to those of other countries.
_ABROAD: Final[Mapping[str, Operator]] = {
    **dict.fromkeys(("POSTCODE", "PLZ", "POSTAL_CODE"), REDACT),
    **dict.fromkeys(("KFZ", "LICENSE_PLATE", "VEHICLE_REGISTRATION"), MASK),
}

# Order settles ties: where two entities claim the same characters with equal proof, the first wins.
CATALOG: Final[tuple[Entity, ...]] = (
    _entity(
        "CN_ID",
        "S",
        PSEUDONYM,
        "身份证,身份證,证件号,公民身份号码,national id,id card,id number,"
        "identity number,resident id,id no,sfz",
        _ID_WORDS,
        "cn",
    ),
    _entity("CN_RESIDENCE", "S", PSEUDONYM, "居住证,居住证号,居住證", "居住证,居住證", "cn"),
    _entity(
        "CN_FOREIGN_PR", "S", PSEUDONYM, "永居证,永久居留证,永居證", "永居证,永久居留,永居證", "cn"
    ),
    _entity("CN_ID15", "S", PSEUDONYM, "身份证,身份證,证件号,身份证号", _ID_WORDS, "cn"),
    _entity(
        "US_SSN",
        "S",
        PSEUDONYM,
        "ssn,social security,social security number,national id,社会安全号",
        "ssn,ssns,social security,social,社会安全号,社安号",
        "us",
    ),
    _entity("US_ITIN", "S", PSEUDONYM, "itin,tax id,taxpayer id", "itin,taxpayer,tax id,tin", "us"),
    _entity(
        "CN_MOBILE",
        "G",
        PSEUDONYM,
        "手机,移动电话,电话,联系方式,手機,電話,mobile,cell,cellphone,phone",
        "手机,手機,电话,電話,联系方式,聯繫方式,致电,来电,來電,mobile,cell,phone,tel",
        "cn",
    ),
    _entity(
        "CN_LANDLINE",
        "G",
        REDACT,
        "座机,固话,固定电话,传真,landline,fax",
        "座机,座機,固话,固話,传真,傳真,電話,电话,tel,fax,phone",
        "cn",
    ),
    _entity(
        "PHONE_NUMBER",
        "G",
        PSEUDONYM,
        "phone,phone number,telephone,tel,mobile,cell,cellphone,contact number,fax,电话,手机",
        "phone,telephone,tel,cell,cellphone,mobile,call,fax,contact,number,reach,电话,手机",
    ),
    _entity(
        "EMAIL_ADDRESS",
        "G",
        PSEUDONYM,
        "email,e mail,mail,email address,邮箱,电子邮件,电子邮箱,郵箱",
        "email,e-mail,mail,邮箱,邮件",
    ),
    _entity(
        "CREDIT_CARD",
        "S",
        TOKEN,
        "credit card,card number,card no,cc number,pan,debit card,bank card,信用卡,信用卡号,卡号",
        "credit,card,visa,mastercard,amex,debit,信用卡,卡号",
    ),
    _entity(
        "CN_BANK_CARD",
        "S",
        TOKEN,
        "银行卡,银行卡号,卡号,银行账号,銀行卡,储蓄卡,bank card,card number,bank account",
        "银行卡,銀行卡,卡号,卡號,开户行,開戶行,账号,賬號,帳號,账户,储蓄卡,bank card,card,account",
        "cn",
    ),
    _entity(
        "US_BANK_NUMBER",
        "S",
        PSEUDONYM,
        "account number,bank account,acct,iban",
        "account,acct,checking,savings,bank account",
        "us",
    ),
    _entity("IBAN_CODE", "S", PSEUDONYM, "iban", "iban"),
    _entity(
        "CN_USCC",
        "G",
        PSEUDONYM,
        "统一社会信用代码,信用代码,税号,纳税人识别号,組織機構代碼,组织机构代码,uscc",
        "统一社会信用代码,信用代码,税号,组织机构代码,統一社會信用代碼,稅號,組織機構代碼",
        "cn",
    ),
    _entity("CN_PASSPORT", "S", PSEUDONYM, "护照,护照号,護照", "护照,護照,passport", "cn"),
    _entity("US_PASSPORT", "S", PSEUDONYM, "passport,passport number", "passport", "us"),
    _entity(
        "US_DRIVER_LICENSE",
        "S",
        PSEUDONYM,
        "driver license,drivers license,driver licence,driving license,dl number",
        "driver license,driver's license,drivers license,driving license,dl",
        "us",
    ),
    _entity("US_MBI", "S", PSEUDONYM, "mbi,medicare id,medicare number", "medicare,mbi", "us"),
    _entity("US_NPI", "G", PSEUDONYM, "npi", "npi,national provider", "us"),
    _entity("ABA_ROUTING_NUMBER", "G", PSEUDONYM, "routing number,aba", "routing,aba", "us"),
    _entity("MEDICAL_LICENSE", "G", PSEUDONYM, "dea,medical license", "dea,medical license", "us"),
    _entity(
        "US_HEALTH_INSURANCE_MEMBER_ID",
        "S",
        PSEUDONYM,
        "member id,subscriber id,insurance id,policy number",
        "member,subscriber,insurance,policy",
        "us",
    ),
    _entity("US_CLAIM_NUMBER", "S", PSEUDONYM, "claim number,claim id", "claim,billing", "us"),
    _entity(
        "US_PRESCRIPTION_NUMBER",
        "S",
        PSEUDONYM,
        "prescription number,rx number",
        "prescription,pharmacy,rx",
        "us",
    ),
    _entity(
        "US_PRIOR_AUTHORIZATION_NUMBER",
        "S",
        PSEUDONYM,
        "prior authorization,authorization number",
        "authorization,preauthorization",
        "us",
    ),
    _entity("US_REFERRAL_NUMBER", "S", PSEUDONYM, "referral number", "referral,infusion", "us"),
    _entity("US_PROVIDER_TAX_ID", "G", PSEUDONYM, "ein,provider tax id", "ein,tin,provider", "us"),
    _entity("UK_NHS", "S", PSEUDONYM, "nhs,nhs number", "nhs,national health service", "eu"),
    _entity("UK_NINO", "S", PSEUDONYM, "nino,national insurance", "national insurance,nino", "eu"),
    _entity(
        "SAR_PASSPORT",
        "S",
        PSEUDONYM,
        "护照,护照号,護照,特区护照,passport",
        "护照,護照,passport,特区,特區",
        "cn",
    ),
    _entity(
        "PASSPORT_MRZ", "S", PSEUDONYM, "mrz,机读码", "mrz,machine readable,passport,护照,機讀碼"
    ),
    _entity("CN_HM_TRAVEL", "S", PSEUDONYM, "港澳通行证,港澳通行證", "通行证,通行證", "cn"),
    _entity("HOME_RETURN", "S", PSEUDONYM, "回乡证,回鄉證", "回乡证,回鄉證,通行证,通行證", "cn"),
    _entity("TW_COMPATRIOT", "S", PSEUDONYM, "台胞证,臺胞證,台胞證", "台胞证,臺胞證,台胞證", "cn"),
    _entity("HKID", "S", PSEUDONYM, "香港身份证,hkid", "香港身份证,香港身份證,hkid", "cn"),
    _entity(
        "MACAU_ID",
        "S",
        PSEUDONYM,
        "澳门身份证,澳門身份證",
        "澳门居民,澳門居民,澳门身份,澳門身份,bir",
        "cn",
    ),
    _entity(
        "TW_ID",
        "S",
        PSEUDONYM,
        "身分證,身分證字號,台湾身份证,臺灣身分證",
        "身分證,身分证,統一編號",
        "cn",
    ),
    _entity(
        "CN_SSC_CARD",
        "S",
        PSEUDONYM,
        "社保卡,社会保障卡,医保卡,醫保卡",
        "社保,医保,醫保,社會保障",
        "cn",
    ),
    _entity(
        "CN_MEDREC",
        "S",
        PSEUDONYM,
        "病案号,病历号,住院号,门诊号,就诊卡号,病歷號,住院號",
        "病案,住院,病历,病歷",
        "cn",
    ),
    _entity("CN_PLATE", "G", MASK, "车牌,车牌号,车牌号码,号牌,車牌", "车牌,車牌,号牌,號牌", "cn"),
    _entity(
        "VIN",
        "G",
        PSEUDONYM,
        "vin,车架号,车辆识别代号,車架號,chassis number",
        "vin,车架号,車架號,车辆识别,chassis",
    ),
    _entity(
        "CN_ADDRESS",
        "G",
        _CITY,
        "地址,住址,家庭住址,收货地址,通讯地址",
        "地址,住址,住在,寄到,送到,家住",
        "cn",
    ),
    _entity(
        "CN_POSTCODE",
        "G",
        MappingProxyType({"operator": "generalize", "to": "region_2"}),
        "邮编,邮政编码,郵編,郵遞區號",
        "邮编,邮政编码,郵編,郵政編碼,郵遞區號,postcode",
        "cn",
    ),
    _entity(
        "COORDINATES",
        "S",
        REDACT,
        "coordinates,lat lon,lat long,gps,经纬度,坐标,經緯度,座標",
        "坐标,座標,经纬度,經緯度,定位,位置,纬度,緯度,gps,coordinates,latitude,lat,location",
    ),
    _entity(
        "STREET_ADDRESS",
        "G",
        _CITY,
        "address,street,street address,home address,mailing address,地址,住址",
        "address,lives at,resides at,located at",
        "us",
    ),
    _entity(
        "DATE_OF_BIRTH",
        "G",
        MappingProxyType({"operator": "generalize", "to": "year"}),
        "dob,birth date,date of birth,birthdate,birthday,born,出生日期,生日,出生年月,出生年月日",
        "born,dob,birth,birthday,birthdate,date of birth,出生,生日,生于",
    ),
    _entity(
        "CN_WECHAT", "G", PSEUDONYM, "微信,微信号,wechat,weixin", "微信,微信号,wechat,weixin", "cn"
    ),
    _entity("CN_QQ", "G", PSEUDONYM, "qq,qq号,企鹅号,企鵝號", "qq,企鹅号,企鵝號,扣扣", "cn"),
    _entity("IMEI", "G", PSEUDONYM, "imei,串号", "imei,串号,串號"),
    _entity("MAC_ADDRESS", "G", PSEUDONYM, "mac,mac address,网卡", "mac,网卡"),
    _entity(
        "IP_ADDRESS",
        "G",
        MappingProxyType({"operator": "generalize", "to": "network"}),
        "ip,ip address,ip地址",
        "ip,ipv4,ipv6",
    ),
    _entity("CRYPTO", "G", PSEUDONYM, "wallet,btc,bitcoin address", "wallet,btc,bitcoin"),
    _entity("UUID", "G", PSEUDONYM, "uuid,guid", "uuid,guid"),
    _entity("URL", "G", REPLACE, "url,website,homepage,link,网址,主页", "url,website,网址"),
    _entity(
        "PERSON",
        "G",
        PSEUDONYM,
        "name,full name,first name,last name,surname,given name,customer name,patient name,person,"
        "contact name,applicant,applicant name,employee name,姓名,名字,客户姓名,联系人,收件人,患者,"
        "患者姓名,法定代表人,称呼,户主",
        "姓名,联系人,聯繫人,聯絡人,收件人,患者,name,mr,mrs,ms,dr",
    ),
    _entity("LOCATION", "G", REPLACE),
    _entity("SUBJECT_ID", "G", PSEUDONYM),
    *(
        Entity(
            row.entity,
            row.sensitivity,
            _ABROAD.get(row.entity.partition("_")[2], PSEUDONYM),
            row.headers,
            row.context,
            row.regimes[0],
            row.regimes,
        )
        for row in DOCUMENTS
    ),
)
