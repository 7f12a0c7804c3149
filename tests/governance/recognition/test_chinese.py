"""The Chinese pack, vector by vector, in every disguise that still means the same identifier.

The vectors are those of the entity catalog's research: births before 1901, zero serials, service
numbers. No living person holds one of them.
"""

from dataclasses import dataclass

import pytest

from governance.recognition.sweep import sweep


@dataclass(frozen=True)
class Row:
    """One entity's vectors; `labels` stand before a value whose shape alone proves nothing."""

    entity: str
    good: tuple[str, ...]
    bad: tuple[str, ...]
    labels: tuple[str, ...] = ("",)


ROWS = (
    Row(
        "CN_ID",
        ("310115188808080024", "11010518991231004X", "11010518991231004x"),
        ("310115188808080025", "110105189502290015", "11010529991231004X"),
    ),
    Row(
        "CN_ID15",
        ("110105000101002", "440305000101001"),
        ("110105491331002",),
        ("身份证", "身份證號："),
    ),
    Row("CN_RESIDENCE", ("810000189901010015", "830000189901010027"), ("820000189901010034",)),
    Row("CN_FOREIGN_PR", ("911840189901010014", "931826189901010029"), ("911840189901010015",)),
    Row(
        "CN_MOBILE",
        ("13800138000", "+86 199-0000-0000", "008613800138000", "138 0013 8000"),
        ("19400000000", "12345678901"),
        ("", "手機："),
    ),
    Row(
        "CN_LANDLINE",
        (
            "010-60000000",
            "0755-20000000转801",
            "(010)60000000",
            "0755 2000 0000",
            "+86 010-60000000",
        ),
        ("0260-10000000",),
        ("", "傳真"),
    ),
    Row("CN_USCC", ("91110105000000000U", "1211010540000000X8"), ("91110105000000000A",)),
    Row(
        "CN_USCC",
        ("00000000-0", "40000000X"),
        ("00000000-1", "40000000-1"),
        ("组织机构代码：", "組織機構代碼"),
    ),
    Row(
        "CN_BANK_CARD",
        ("6200000000000005", "6217000000000000004", "340000000000009"),
        ("6200000000000006",),
    ),
    Row("CN_PASSPORT", ("E00000000", "G00000000", "DE0000000"), ("EI0000000",)),
    Row(
        "CN_PASSPORT",
        ("D0000000", "S00000000", "140000000"),
        ("130000000",),
        ("护照", "護照號碼："),
    ),
    Row(
        "SAR_PASSPORT",
        ("K00000000", "H00000000", "KJ00000000", "MA0000000", "MB0000000"),
        ("MC0000000", "HI00000000"),
        ("护照：", "特區護照"),
    ),
    Row("CN_HM_TRAVEL", ("C00000000", "CA0000000"), ("CO0000000",), ("通行证", "通行證：")),
    Row("HOME_RETURN", ("H00000000", "M0000000001"), ("A00000000",), ("回乡证", "回鄉證")),
    Row("TW_COMPATRIOT", ("00000000", "0000000001"), ("000000001",), ("台胞证", "臺胞證號")),
    Row(
        "HKID",
        ("Z000000(1)", "Z0000001", "ZZ000000(A)", "Z000000 (1)", "Z 000000(1)"),
        ("Z000000(2)",),
    ),
    Row(
        "MACAU_ID",
        ("1000000(0)", "50000000", "7/000000/0"),
        ("2000000(0)",),
        ("澳门居民身份证", "澳門居民身份證："),
    ),
    Row("TW_ID", ("A100000001", "F200000008", "A-100000001"), ("A100000002",)),
    Row(
        "CN_PLATE",
        ("京A·D00000", "粤Z0000港", "粵Z0000港", "京A12345", "京AD00000", "沪A0000学"),
        ("京I00000", "京A·O0000"),
    ),
    Row(
        "CN_WECHAT",
        ("wxid_test00001", "abc-de"),
        ("1abcdef",),
        ("微信号", "微信：", "微信號是", "WeChat: ", "WeChat is "),
    ),
    Row("CN_QQ", ("10000", "10000000000"), ("012345",), ("QQ号", "QQ: ", "企鹅号", "QQ號為")),
    Row(
        "IMEI",
        ("001000000000009", "001012345678902", "00-101234-567890-2"),
        ("001012345678903",),
        ("IMEI ", "串號"),
    ),
    Row("MAC_ADDRESS", ("00:00:5E:00:53:01", "00-00-5E-00-53-FF"), ("00:00-5E:00:53:01",)),
    Row(
        "CN_MEDREC",
        ("ZY00000001", "0000001", "A-00-0000"),
        ("ZY01",),
        ("住院号：", "病案号", "病歷號：", "门诊号是"),
    ),
    Row("CN_MEDREC", (), ("ZY00000001",), ("订单号：", "流水号")),
    Row("CN_SSC_CARD", ("A0000000X", "000000001"), ("A000000X",), ("社保卡号：", "社會保障卡號")),
    Row("CN_SSC_CARD", (), ("A0000000X",), ("卡号：",)),
    Row("CN_POSTCODE", ("100020", "518000"), ("900000", "10002"), ("邮编", "郵編：", "邮政编码 ")),
    Row("CN_POSTCODE", (), ("100020",), ("金额", "数量")),
    Row(
        "VIN",
        ("LSV00000200000000", "1M8GDM9AXKP042788"),
        ("LSV00000300000000", "11111111111111111"),
        ("车架号", "車架號："),
    ),
    Row(
        "COORDINATES",
        ("39.90420,116.40740", "39.90420, -116.40740"),
        ("39.9,116.4",),
        ("坐标", "經緯度："),
    ),
    Row(
        "PASSPORT_MRZ",
        (
            "E000000008CHN0001018M3001019<<<<<<<<<<<<<<<4",
            "P<CHNWANG<<XIAOMING<<<<<<<<<<<<<<<<<<<<<<<<<<",
        ),
        ("E000000009CHN0001018M3001019<<<<<<<<<<<<<<<4",),
    ),
    Row(
        "CN_ADDRESS",
        (
            "北京市朝阳区示例路88号3单元602室",
            "广东省深圳市南山区测试街1号",
            "臺北市信義區示例路45號3樓",
            "新竹縣竹北市光明路八十八號",
            "香港中環示例道88號",
            "江苏省苏州市昆山市示例路8号阳光花园3幢2单元602室",
            "河南省信阳市固始县陈淋子镇示例村3组",
            "朝阳区示例路88号",
            "北京市朝阳区示例小区3号楼2单元602",
            "内蒙古自治区鄂尔多斯市东胜区示例街3号",
        ),
        ("市区路线88", "广东省深圳市南山区", "北京市", "道路千万条"),
    ),
    Row("CN_ADDRESS", ("示例路88号", "示例大道9号院3号楼"), ("88号",), ("地址：", "家住")),
)

GOOD = [(r.entity, value, label) for r in ROWS for value in r.good for label in r.labels]
BAD = [(r.entity, value, label) for r in ROWS for value in r.bad for label in r.labels]
_WIDE = {i: i + 0xFEE0 for i in range(0x21, 0x7F)}
_BARE = {"CN_ADDRESS", "CN_PLATE"}  # Han characters are part of the value: a label alone may stand


def found(text: str, entity: str) -> list[str]:
    return [text[h.start : h.end] for h in sweep([text], entities={entity}, header=None)]


def split(value: str) -> str:
    """The value with an invisible character after every second one."""
    return "".join(c + ("\u200b" if i % 2 else "") for i, c in enumerate(value)).rstrip("\u200b")


@pytest.mark.parametrize(("entity", "value", "label"), GOOD)
def test_a_good_vector_is_found_whole(entity: str, value: str, label: str) -> None:
    for frame in ("{}", "请核对：{}，谢谢", "本号 {} 有效", "see {} now", "({})"):
        assert any(value in hit for hit in found(frame.format(label + value), entity)), frame


@pytest.mark.parametrize(("entity", "value", "label"), GOOD)
def test_full_width_and_invisible_characters_hide_nothing(
    entity: str, value: str, label: str
) -> None:
    for form in (value.translate(_WIDE), split(value), split(value.translate(_WIDE))):
        for frame in ("{}",) if entity in _BARE else ("{}", "资料{}资料"):
            text = frame.format(label + form)
            assert any(form in hit for hit in found(text, entity)), text


@pytest.mark.parametrize(("entity", "value", "label"), [g for g in GOOD if g[0] not in _BARE])
def test_beside_han_characters_without_any_mark(entity: str, value: str, label: str) -> None:
    assert any(value in hit for hit in found(f"资料{label}{value}已核对", entity))


@pytest.mark.parametrize(("entity", "value", "label"), BAD)
def test_a_bad_vector_is_not_found(entity: str, value: str, label: str) -> None:
    for frame in ("{}", "请核对：{}，谢谢", "资料{}已核对"):
        hits = found(frame.format(label + value), entity)
        assert not any(value in hit for hit in hits), (frame, hits)


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("CN_ID", "1101 0518 9912 3100 4X"),
        ("CN_ID", "110105-1899-1231-004X"),
        ("CN_ID", "110.105.18991231.004X"),
        ("CN_USCC", "91110105-000000000-U"),
        ("CN_USCC", "9111 0105 0000 0000 0U"),
        ("CN_BANK_CARD", "6200-0000-0000-0005"),
        ("CN_BANK_CARD", "6217 0000 0000 0000 004"),
        ("CN_MOBILE", "手机1380-0138-000"),
        ("CN_MOBILE", "手机 138.001.38000"),
        ("CN_MOBILE", "电话1 3 8 0 0 1 3 8 0 0 0"),
    ],
)
def test_separators_inside_a_number_hide_nothing(entity: str, text: str) -> None:
    (hit,) = found(text, entity)
    assert sum(c.isalnum() for c in hit) == sum(c.isascii() and c.isalnum() for c in text)


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("H00000000", "SAR_PASSPORT"),
        ("12345678", "MACAU_ID"),
        ("00000000", "TW_COMPATRIOT"),
        ("C00000000", "CN_HM_TRAVEL"),
        ("100020", "CN_POSTCODE"),
        ("LSV00000200000000", "VIN"),
        ("39.90420,116.40740", "COORDINATES"),
        ("110105000101002", "CN_ID15"),
        ("001012345678902", "IMEI"),
        ("10000000", "CN_QQ"),
        ("示例路88号", "CN_ADDRESS"),
    ],
)
def test_a_shape_that_proves_nothing_needs_a_word_beside_it(text: str, entity: str) -> None:
    assert found(text, entity) == []
    assert found(f"请核对{text}", entity) == []


def test_a_mistyped_card_is_somebodys_where_a_label_says_so() -> None:
    assert found("6200000000000006", "CN_BANK_CARD") == []
    (hit,) = sweep(["银行卡号6200000000000006"], entities={"CN_BANK_CARD"})
    assert (hit.score, hit.checked) == (0.6, False)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("王小明先生", "王小明"),
        ("請王小明老師簽字", "王小明"),
        ("联系人：欧阳静", "欧阳静"),
        ("聯絡人：歐陽靜", "歐陽靜"),
        ("患者：司马相如，男", "司马相如"),
        ("姓名：王明年龄30", "王明"),
        ("姓名:李明电话13800138000", "李明"),
        ("收件人：樊星", "樊星"),
        ("我叫张三丰", "张三丰"),
        ("姓名：阿依古丽·买买提", "阿依古丽·买买提"),
        ("客户 迪丽热巴•迪力木拉提", "迪丽热巴•迪力木拉提"),
        ("法定代表人：陳大文", "陳大文"),
        ("负责人：诸葛亮", "诸葛亮"),
    ],
)
def test_a_cue_introduces_a_name(text: str, name: str) -> None:
    assert found(text, "PERSON") == [name]


@pytest.mark.parametrize(
    "text",
    [
        "高兴地说",
        "马上出发",
        "方便先生女士",
        "高级经理",
        "金牌律师",
        "任何医生",
        "江苏经理",
        "患者 高血压病史",
        "客户 高级会员",
        "阿依古丽·买买提",
        "姓名：",
        "联系人电话",
        "万元",
        "文件任务",
    ],
)
def test_a_word_that_looks_like_a_name_is_none(text: str) -> None:
    assert found(text, "PERSON") == []
