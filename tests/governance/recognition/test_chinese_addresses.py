"""Levels of an address, and what is left of it when it is cut down to one."""

from dataclasses import astuple

import pytest

from governance.recognition.chinese_addresses import Levels, levels, truncate
from governance.recognition.sweep import sweep


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (
            "广东省深圳市南山区测试街1号",
            Levels("广东省", "深圳市", "南山区", "", "测试街", "1号"),
        ),
        ("北京市朝阳区示例路88号", Levels("北京市", "", "朝阳区", "", "示例路", "88号")),
        ("臺灣新竹縣竹北市光明路8號", Levels("臺灣", "新竹縣", "竹北市", "", "光明路", "8號")),
        (
            "内蒙古自治区鄂尔多斯市东胜区示例街3号",
            Levels("内蒙古自治区", "鄂尔多斯市", "东胜区", "", "示例街", "3号"),
        ),
        (
            "河南省信阳市固始县陈淋子镇示例村3组",
            Levels("河南省", "信阳市", "固始县", "陈淋子镇", "示例村", "3组"),
        ),
        ("广东省 深圳市\u200b南山区", Levels("广东省", "深圳市", "南山区")),
        ("hello", Levels()),
        ("", Levels()),
    ],
)
def test_the_levels_of_an_address(address: str, expected: Levels) -> None:
    assert levels(address) == expected
    assert levels(address).found() == sum(map(bool, astuple(expected)))


@pytest.mark.parametrize(
    ("address", "province", "city"),
    [
        ("广东省深圳市南山区测试街1号", "广东省", "广东省深圳市"),
        ("臺灣新竹縣竹北市光明路8號", "臺灣", "臺灣新竹縣"),
        ("吉林省延边朝鲜族自治州延吉市示例路1号", "吉林省", "吉林省延边朝鲜族自治州"),
        ("北京市朝阳区示例路88号", "北京市", "北京市"),
        ("重慶渝中區示例路88號", "重慶市", "重慶市"),
        ("澳門氹仔示例街1號", "澳門", "澳門"),
        ("深圳市南山区测试街1号", None, "深圳市"),
        ("深圳市", None, None),
        ("王小明市场部", None, None),
        ("示例路88号", None, None),
        ("hello", None, None),
    ],
)
def test_an_address_is_cut_down_to_a_level(
    address: str, province: str | None, city: str | None
) -> None:
    assert truncate(address, "province") == province
    assert truncate(address, "city") == city


def test_what_is_left_is_no_address_any_more() -> None:
    """A generalized column is swept again before it is released: it must come out clean."""
    left = [
        truncate("广东省深圳市南山区测试街1号", "province"),
        truncate("广东省深圳市南山区测试街1号", "city"),
    ]
    assert sweep(left, header="家庭住址") == []
