"""Special categories of personal data: what makes a column or a text sensitive beyond identifiers.

The classes are those of PIPL Art. 28, GDPR Art. 9 and 10 and CCPA § 1798.140(ae); where a Chinese
standard is what lists a matter (GB/T 35273-2020, annex B), it is named. A class is told by an
entity, by a header, or by words in the cells. What was decided where the law leaves room:

- Marital *status* (已婚, Divorced) is family status and of no class; marital *history* (婚史) is,
  by GB/T 35273 annex B.
- Occupation, employer, country of birth and income are of no class: none of the laws lists them.
- Colors are no ethnicity: White and Black count under a header that speaks of race only.
- Given names are no religion: `Christian` counts in "Christian church", not by itself.
- A negated diagnosis (否认高血压) is health data all the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import Final

from governance.recognition.entities import speaks


@dataclass(frozen=True, slots=True)
class SensitiveClass:
    """A class of sensitive data: its code, its names for people, and the law that lists it."""

    code: str
    zh: str
    en: str
    laws: tuple[str, ...]


_PIPL: Final = "PIPL Art. 28"
_GDPR: Final = "GDPR Art. 9(1)"
_CCPA: Final = "CCPA § 1798.140(ae)"
_ANNEX: Final = "GB/T 35273-2020 annex B"

SENSITIVE_CLASSES: Final[Mapping[str, SensitiveClass]] = MappingProxyType(
    {
        row.code: row
        for row in (
            SensitiveClass(
                "racial_or_ethnic", "种族或民族", "racial or ethnic origin", (_GDPR, _CCPA)
            ),
            SensitiveClass("religion", "宗教信仰", "religious belief", (_PIPL, _GDPR, _CCPA)),
            SensitiveClass("political", "政治观点或政治面貌", "political opinion", (_GDPR,)),
            SensitiveClass("union", "工会会员身份", "trade union membership", (_GDPR, _CCPA)),
            SensitiveClass("health", "医疗健康", "health", (_PIPL, _GDPR, _CCPA)),
            SensitiveClass("genetic", "基因", "genetic data", (_ANNEX, _GDPR, _CCPA)),
            SensitiveClass("biometric", "生物识别", "biometric data", (_PIPL, _GDPR, _CCPA)),
            SensitiveClass(
                "sexual", "性生活或性取向", "sex life or sexual orientation", (_ANNEX, _GDPR, _CCPA)
            ),
            SensitiveClass("marital_history", "婚史", "marital history", (_ANNEX,)),
            SensitiveClass("criminal", "犯罪记录", "criminal record", (_ANNEX, "GDPR Art. 10")),
            SensitiveClass("finance", "金融账户", "financial account", (_PIPL, _CCPA)),
            SensitiveClass(
                "location", "行踪轨迹或精准定位", "whereabouts or precise location", (_PIPL, _CCPA)
            ),
            SensitiveClass("identity", "特定身份", "government identity document", (_PIPL, _CCPA)),
            SensitiveClass(
                "minor", "不满十四周岁的未成年人", "child under 14", (_PIPL, "GDPR Art. 8")
            ),
        )
    }
)

_OF_ENTITIES: Final = {
    "identity": "NL_BSN DE_TAX_NUMBER ZA_TRAFFIC_REGISTER_NUMBER ZA_INCOME_TAX_NUMBER CN_ID "
    "CN_ID15 CN_RESIDENCE CN_FOREIGN_PR CN_PASSPORT SAR_PASSPORT CN_HM_TRAVEL"
    " HOME_RETURN TW_COMPATRIOT PASSPORT_MRZ HKID MACAU_ID TW_ID CN_SSC_CARD US_SSN US_ITIN "
    "US_PASSPORT"
    " US_DRIVER_LICENSE UK_NINO UK_PASSPORT UK_DRIVING_LICENCE DE_TAX_ID DE_ID_CARD DE_PASSPORT"
    " DE_SOCIAL_SECURITY DE_FUEHRERSCHEIN ES_NIF ES_NIE ES_PASSPORT IT_FISCAL_CODE"
    " IT_DRIVER_LICENSE IT_IDENTITY_CARD IT_PASSPORT PL_PESEL FI_PERSONAL_IDENTITY_CODE"
    " SE_PERSONNUMMER FR_NIR JP_MY_NUMBER KR_RRN KR_FRN KR_PASSPORT KR_DRIVER_LICENSE IN_AADHAAR"
    " IN_PAN IN_PASSPORT IN_VOTER SG_NRIC_FIN AU_TFN TH_TNIN TR_NATIONAL_ID ZA_ID_NUMBER"
    " ZA_PASSPORT ZA_DRIVER_LICENSE NG_NIN PH_UMID PH_PASSPORT PH_TIN CA_SIN",
    "finance": "CN_BANK_CARD CREDIT_CARD US_BANK_NUMBER IBAN_CODE CRYPTO",
    "health": "CN_MEDREC US_MBI UK_NHS DE_HEALTH_INSURANCE AU_MEDICARE"
    " US_HEALTH_INSURANCE_MEMBER_ID US_PRESCRIPTION_NUMBER US_CLAIM_NUMBER US_REFERRAL_NUMBER"
    " US_PRIOR_AUTHORIZATION_NUMBER",
    "location": "COORDINATES",
}
_CLASS_OF: Final = {name: code for code, names in _OF_ENTITIES.items() for name in names.split()}

# Words of headers. `|`-separated; a Chinese word anywhere in the header, an English one whole.
_HEADERS: Final = {
    "racial_or_ethnic": "民族|种族|族群|種族|族裔|血统|race|ethnicity|ethnic|ethnic group|"
    "ethnic origin|racial",
    "religion": "宗教|信仰|religion|religious|faith|denomination",
    "political": "政治面貌|党派|党员|黨派|黨籍|政党|政見|political|party affiliation|"
    "political party|political opinion",
    "union": "工会|工會|union|union member|union membership|trade union",
    "health": "诊断|診斷|病史|病名|疾病|病情|症状|症狀|主诉|现病史|既往史|过敏|過敏|用药|用藥|"
    "处方|處方|"
    "药品|手术|手術|血型|检验|检查结果|体检|残疾|殘疾|diagnosis|diagnoses|diagnosed|disease|"
    "symptom|"
    "symptoms|medication|medications|drug|drugs|prescription|allergy|allergies|icd|"
    "medical history|disability|blood type|blood pressure|bmi|chief complaint",
    "genetic": "基因|遗传|遺傳|genetic|genotype|genome|dna|snp",
    "biometric": "指纹|指紋|人脸|人臉|虹膜|声纹|聲紋|掌纹|掌紋|步态|fingerprint|faceprint|"
    "face template|"
    "face embedding|iris|voiceprint|biometric|biometrics|retina",
    "sexual": "性取向|性生活|性行为|性行為|sexual orientation|sex life|sexuality",
    "marital_history": "婚史|离婚史|離婚史|marital history|previous marriages",
    "criminal": "犯罪|前科|案底|刑期|罪名|判刑|刑事|违法记录|criminal|criminal record|conviction|"
    "convictions|felony|felonies|offense|offence|arrests|prior arrests|recidivism",
    "finance": "银行卡|银行账|銀行|账户余额|存款|征信|徵信|信用评分|流水|bank account|"
    "account number|"
    "account balance|credit score|credit history|iban|card number|credit card",
    "location": "经度|纬度|經度|緯度|经纬度|坐标|座標|轨迹|軌跡|行踪|行蹤|定位|住宿记录|latitude|"
    "longitude|"
    "lat|lng|lon|gps|coordinates|geolocation|geo point|trajectory|whereabouts",
    "identity": "身份证|身份證|证件号|護照|护照|passport|ssn|national id|id card|driver license",
    "minor": "监护人|監護人|guardian|guardian name|legal guardian",
}
# Beside these, a header's word means something else: race_time, union_type, drug_store_count.
_ELSEWHERE: Final = re.compile(
    r"\b(?:time|lap|track|store|select|join|european|air|condition code|weather|road|product"
    r"|paint|shipping|item|payment)\b",
    re.IGNORECASE,
)

_ETHNIC: Final = (
    "汉 蒙古 回 藏 维吾尔 苗 彝 壮 布依 朝鲜 满 侗 瑶 白 土家 哈尼 哈萨克 傣 黎 傈僳 佤 畲 高山 "
    "拉祜 水 东乡 纳西 景颇 "
    "柯尔克孜 土 达斡尔 仫佬 羌 布朗 撒拉 毛南 仡佬 锡伯 阿昌 普米 塔吉克 怒 乌孜别克 俄罗斯 "
    "鄂温克 德昂 保安 裕固 京 塔塔尔 独龙 "
    "鄂伦春 赫哲 门巴 珞巴 基诺 漢 維吾爾 壯 滿 傈僳 東鄉 納西 景頗 達斡爾 錫伯 獨龍 鄂倫春 門巴 "
    "珞巴 基諾"
)
# Words of cells. Those in Latin letters are whole words in any case; `=` keeps the case.
_WORDS: Final = {
    "racial_or_ethnic": "|".join(f"{name}族" for name in _ETHNIC.split())
    + "|少数民族|少數民族|african american|african-american|afro-american|hispanic|latino|latina|"
    "caucasian|asian american|asian-pac-islander|amer-indian-eskimo|pacific islander|"
    "native american|american indian|alaska native|native hawaiian|uyghur|uighur|roma people|"
    "ethnic minority|mixed race|biracial|multiracial",
    "religion": "佛教|道教|伊斯兰|伊斯蘭|穆斯林|基督教|基督徒|天主教|东正教|東正教|新教徒|犹太教|"
    "猶太教|印度教|锡克教|藏传佛教|"
    "喇嘛教|宗教信仰|信奉|无神论|無神論|皈依|受洗|清真寺礼拜|做礼拜|斋月|buddhist|buddhism|taoist|"
    "taoism|muslim|islam|"
    "islamic|christianity|christian church|is a christian|devout christian|catholic|catholicism|"
    "protestant|eastern orthodox|orthodox christian|jewish|judaism|hinduism|hindu|sikh|sikhism|"
    "mormon|jehovah's witness|atheist|atheism|scientologist",
    "political": "中共党员|共产党员|共產黨員|预备党员|入党|民主党派|共青团员|民革党员|民盟盟员|"
    "九三学社|致公党|农工党|台盟|国民党|國民黨|"
    "民进党|民進黨|政治观点|communist party|democratic party|republican party|conservative party|"
    "labour party|green party|socialist party|registered democrat|registered republican|"
    "communist party member|political opinion|political views",
    "union": "工会会员|工會會員|加入工会|加入工會|工会主席|工会代表|trade union|labor union|"
    "labour union|"
    "union member|union membership|union representative|union dues|shop steward",
    "health": "糖尿病|高血压|高血壓|低血压|冠心病|心脏病|心臟病|心肌梗死|心绞痛|脑梗|腦梗|脑卒中|"
    "中风|腦中風|癌|肿瘤|腫瘤|白血病|淋巴瘤|"
    "艾滋病|愛滋|乙肝|丙肝|肝炎|肝硬化|肺结核|结核病|肺炎|哮喘|慢阻肺|抑郁症|抑鬱症|焦虑症|躁郁|"
    "精神分裂|精神病|自闭症|癫痫|癲癇|帕金森|阿尔茨海默|"
    "痴呆|肾衰|尿毒症|透析|化疗|化療|放疗|甲亢|甲减|痛风|痛風|红斑狼疮|类风湿|梅毒|淋病|性病|怀孕|"
    "懷孕|妊娠|流产|流產|不孕|骨折|残疾|殘疾|过敏史|"
    "过敏|病史|确诊|確診|诊断为|診斷為|住院治疗|手术|手術|新冠|阿司匹林|二甲双胍|胰岛素|胰島素|"
    "阿莫西林|青霉素|布洛芬|头孢|华法林|奥氮平|舍曲林|"
    "氟西汀|他汀|diabetes|diabetic|hypertension|hypertensive|cancer|carcinoma|tumor|tumour|"
    "leukemia|"
    "leukaemia|lymphoma|melanoma|hiv|=AIDS|hepatitis|cirrhosis|tuberculosis|pneumonia|asthma|copd|"
    "clinical depression|major depression|depressive disorder|anxiety disorder|bipolar disorder|"
    "schizophrenia|autism|adhd|epilepsy|parkinson's disease|alzheimer's|dementia|renal failure|"
    "kidney failure|dialysis|chemotherapy|radiotherapy|lupus|rheumatoid arthritis|osteoarthritis|"
    "syphilis|gonorrhea|chlamydia|pregnant|pregnancy|miscarriage|infertility|stroke patient|"
    "ischemic stroke|heart attack|heart failure|myocardial infarction|coronary artery disease|"
    "atrial fibrillation|covid-19|allergic to|diagnosed with|suffers from|medical history|"
    "underwent surgery|metformin|insulin|aspirin|amoxicillin|penicillin|ibuprofen|warfarin|statin|"
    "atorvastatin|lisinopril|sertraline|fluoxetine|olanzapine|methadone|oxycodone",
    "genetic": "基因检测|基因檢測|基因突变|基因突變|基因组|遗传病|遺傳病|染色体|染色體|亲子鉴定|"
    "genetic test|genetic testing|"
    "gene mutation|genome|genotype|=BRCA1|=BRCA2|=DNA|chromosome|hereditary disease|paternity test",
    "biometric": "指纹|指紋|人脸识别|人臉識別|面部识别|面部特征|虹膜|声纹|聲紋|掌纹|掌紋|耳廓|"
    "视网膜扫描|iris scan|retina scan|"
    "retinal scan|faceprint|face template|face recognition template|facial recognition|voiceprint|"
    "palm print|fingerprint scan|fingerprint template|fingerprints",
    "sexual": "性取向|性生活|同性恋|同性戀|双性恋|雙性戀|异性恋|異性戀|跨性别|跨性別|性伴侣|"
    "性伴侶|homosexual|"
    "heterosexual|bisexual|lesbian|=gay|transgender|lgbt|lgbtq|sexual orientation|sexual partner|"
    "sexual partners|sexually active|sex life",
    "marital_history": "婚史|离异史|離異史|离过婚|離過婚|再婚|二婚|前妻|前夫|ex-wife|ex-husband|"
    "previously married|"
    "previous marriage|marital history|divorced twice",
    "criminal": "犯罪|前科|案底|有期徒刑|无期徒刑|無期徒刑|判刑|判处|判處|缓刑|緩刑|刑满释放|"
    "刑滿釋放|服刑|被捕|逮捕|刑事拘留|行政拘留|刑事处罚|"
    "吸毒史|强制戒毒|醉驾|盗窃罪|诈骗罪|故意伤害罪|convicted|felony|felon|misdemeanor|"
    "misdemeanour|criminal record|"
    "criminal conviction|incarcerated|imprisoned|on parole|on probation|was arrested|been arrested|"
    "prison sentence|jail sentence|ex-convict",
    "finance": "账户余额|帳戶餘額|存款余额|征信报告|征信记录|贷款逾期|信用卡逾期|银行流水|"
    "房贷余额|account balance|bank balance|"
    "credit score|credit report|overdue loan|loan default|bank statement",
    "location": "行踪|行蹤|行动轨迹|活动轨迹|运动轨迹|轨迹数据|行動軌跡|活動軌跡|经纬度|經緯度|"
    "实时位置|实时定位|手机定位|gps coordinates|gps location|geolocation|"
    "whereabouts|live location",
    "minor": "未满十四周岁|不满十四周岁|未满14周岁|不满14周岁|未成年儿童|监护人|監護人|幼儿园|"
    "幼稚園|under the age of 14|"
    "under 14 years|kindergarten|legal guardian|minor child",
}
# A pair of coordinates with four decimals or more tells a place to about ten meters.
_DECIMALS: Final = r"\.[0-9]{4,15}°?"
_LATITUDE: Final = rf"-?(?:[0-8]?[0-9]|90){_DECIMALS}[NS]?"
_LONGITUDE: Final = rf"-?(?:1[0-7][0-9]|[0-9]{{1,2}}|180){_DECIMALS}[EW]?"
_SHAPES: Final = {
    "location": rf"(?<![0-9.])(?:{_LATITUDE}[,，;/ ]{{1,3}}{_LONGITUDE}"
    rf"|{_LONGITUDE}[,，;/ ]{{1,3}}{_LATITUDE})(?![0-9.])",
    "minor": r"(?<![0-9.])(?:1[0-3]|[0-9]) ?(?:周岁|周歲|岁|歲)(?!以)"
    r"|(?<![0-9.])(?:1[0-3]|[0-9])(?: (?:years?|months?) old(?![a-z])"
    r"|-year-old (?:boy|girl|child|son|daughter|kid|pupil|student|patient|infant))",
}
# Longer words that hold one of ours by chance: 水族馆 is an aquarium, 中风险 a medium risk, and
# 宁夏回族自治区 or 土家族苗族自治州 a place, whoever lives there.
_NOT_BEFORE: Final = {
    "racial_or_ethnic": r"[馆館箱]|(?:\w{1,4}族){0,3}(?:自治|乡|鄉)",
    "health": "[险險]",
}
_COUNTED: Final = r"\.[0-9]{4}|[0-9] ?周?[岁歲]|[0-9][ -](?i:year|month)"
_BARE_AGE: Final = re.compile(r"\s*(?:1[0-3]|[0-9])(?:\.0*)?\s*(?:周?[岁歲])?\s*")
_YEAR: Final = re.compile(r"\s*((?:19|20)[0-9]{2})[-/.年]?(?:[0-9]|\s*$)")
_AGE_HEADERS: Final = ("年龄", "年齡", "age")
_BIRTH_HEADERS: Final = (
    "出生",
    "生日",
    "dob",
    "birth date",
    "date of birth",
    "birthday",
    "birthdate",
)
_ADULT: Final = 14  # PIPL Art. 28 and 31
_NOTHING: Final = re.compile(
    r"\s*(?:[-–/?.]+|n/?a|nan|null|none|无|無|未知|unknown)?\s*", re.IGNORECASE
)


def class_of_entity(entity: str) -> str | None:
    """The class that an entity belongs to, or None for general personal data."""
    return _CLASS_OF.get(entity)


def class_of_header(header: str | None) -> str | None:
    """The class that a column's header speaks of, the first in the order of `SENSITIVE_CLASSES`."""
    if not header or _ELSEWHERE.search(re.sub(r"[_\W]+", " ", header)):
        return None
    return next((code for code in SENSITIVE_CLASSES if speaks(header, _header_words()[code])), None)


def sensitive_classes(texts: Sequence[str | None], header: str | None = None) -> dict[str, int]:
    """How many cells of a column belong to each class, by its header and by the words in them.

    One Aho-Corasick pass over the column picks the cells worth a closer look. Under a header that
    speaks of a class, every cell that says anything counts; an age or a birth date under its header
    counts where it makes a child under 14.

    Returns:
        Classes in the order of `SENSITIVE_CLASSES`, with at least one cell each.
    """
    import polars as pl  # noqa: PLC0415 - the classes alone are read where nobody looks at texts

    column = pl.Series([text or "" for text in texts], dtype=pl.String)
    counts = dict.fromkeys(SENSITIVE_CLASSES, 0)
    spoken = class_of_header(header)
    if spoken is not None:
        counts[spoken] = sum(_NOTHING.fullmatch(text) is None for text in column)
    children = _childhood(header)
    if children is not None:
        counts["minor"] = sum(children(text) for text in column)
    words, patterns = _lexicon()
    near = column.to_frame("cell").select(
        pl.col("cell").str.contains_any(words, ascii_case_insensitive=True)
        | pl.col("cell").str.contains(_COUNTED)
    )
    settled = {spoken} | ({"minor"} if children is not None else set())
    for number in near["cell"].arg_true().to_list():
        for code, pattern in patterns.items():
            if code not in settled and pattern.search(column[number]):
                counts[code] += 1
    return {code: count for code, count in counts.items() if count}


@cache
def _header_words() -> Mapping[str, tuple[str, ...]]:
    return {code: tuple(words.split("|")) for code, words in _HEADERS.items()}


@cache
def _lexicon() -> tuple[list[str], Mapping[str, re.Pattern[str]]]:
    """All words, for the gate, and one pattern a class, for the cells that pass it."""
    everything: list[str] = []
    patterns: dict[str, re.Pattern[str]] = {}
    for code, joined in _WORDS.items():
        words = joined.split("|")
        everything += [word.removeprefix("=") for word in words]
        han = "|".join(word for word in words if not word.removeprefix("=").isascii())
        exact = "|".join(re.escape(word[1:]) for word in words if word.startswith("="))
        latin = "|".join(re.escape(w) for w in words if w.isascii() and not w.startswith("="))
        parts = [f"(?:{han})(?!{_NOT_BEFORE.get(code, chr(0))})"]
        parts += [rf"(?<![A-Za-z])(?:{exact})(?![A-Za-z])"] if exact else []
        parts += [rf"(?<![A-Za-z])(?i:{latin})(?![A-Za-z])"] if latin else []
        parts += [f"(?i:{_SHAPES[code]})"] if code in _SHAPES else []
        patterns[code] = re.compile("|".join(parts))
    return everything, patterns


def _childhood(header: str | None) -> Callable[[str], bool] | None:
    """What tells a child's cell in a column of ages or of birth dates; None for other columns."""
    if not header:
        return None
    if speaks(header, _AGE_HEADERS):
        return lambda text: _BARE_AGE.fullmatch(text) is not None
    if speaks(header, _BIRTH_HEADERS):
        this_year = datetime.now(tz=UTC).year
        return lambda text: (
            (match := _YEAR.match(text)) is not None
            and (
                0 <= this_year - int(match[1]) < _ADULT  # whoever turns 14 this year is not counted
            )
        )
    return None
