"""Chinese people by the words around them: titles, labels, and the dotted names of minorities.

Names without a cue are the language model's (`lac`); a name of two or three characters of the
hundred commonest surnames would otherwise be found in every second sentence. A dotted name that
nothing introduces is a doubt, for review only.
"""

from typing import Final

from governance.recognition.rules import Gate, Rule, bounded

_HAN: Final = "[一-龥]"
SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏"
    "薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武"
    "乔贺赖龚文張劉陳楊趙黃吳孫馬羅鄭謝韓馮蕭鄧許呂蘇盧蔣賈葉閻鍾鐘譚鄒陸顧龍萬錢湯喬賀賴龔"
)
# Behind a label (姓名：) nothing but a name is expected, so rarer surnames are let in as well.
_RARER: Final = (
    "樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童"
    "欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强丁吉华车房边冉古连佘冷米阎郎晏官仇栾苟匡巩桑敖党海"
    "蘭顏嚴溫盧魯韋畢聶叢齊莊時關費紀歐項陽衛鮑單寧閔強華車邊連欒鞏黨"
)
_COMPOUND: Final = (
    "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|长孙|宇文|司徒|夏侯|轩辕|端木|南宫|独孤|"
    "百里|呼延|东郭|西门|拓跋|完颜|"
    "澹台|公羊|钟离|闻人|濮阳|申屠|鲜于|闾丘|淳于|单于|赫连|太史|仲孙|万俟|南门|公冶|"
    "歐陽|司馬|諸葛|東方|尉遲|公孫|長孫|軒轅|南宮|獨孤|東郭|西門|完顏|澹臺|鍾離|聞人|濮陽|鮮于|"
    "閭丘|單于|赫連|仲孫"
)
COMPOUND_SURNAMES: Final = frozenset(_COMPOUND.split("|"))
# Words that begin like a name and are none.
_NO_NAMES: Final = (
    "高兴 马上 方便 江苏 万元 文件 任务 金额 方案 白天 黄金 石油 田地 常见 "
    "高级 高中 高三 高一 高二 金牌 任课 安全 常务 成本 江西 江南 石家 温州 "
    "马路 方面 方法 文化 文明 于是 万一 易于 任何 任意 何时 何地 常常 白色 "
    "黄色 金融 金属 雷达 龙头 高興 馬上 江蘇 萬元 任務 金額 黃金 常見 高級 "
    "易於 萬一 于今 时间 时候 华东 华南 华北 成都 成功 成为 项目 安排 单位 "
    "路口 同学 管理 解决 强调 海关 海外 党员 车辆 房产 连续 关于 时間 項目 "
    "單位 關於 高血 高烧 安静 毛病 雷雨 路过"
)
NO_NAMES: Final = frozenset(_NO_NAMES.split())
# What follows a short name behind a label: without this, 姓名：王明年龄30 would be 王明年.
_NEXT: Final = (
    "年龄|年齡|电话|電話|手机|手機|性别|性別|身份|住址|地址|联系|聯繫|出生|邮箱|民族|籍贯|职业|"
    "先生|女士|小姐|同志|老师|老師|"
    "医生|醫生|主任|经理|經理|律师|律師|教授|护士|護士|今年|昨天|今天|明天|已经|于今|因为|因病|"
    "患有|入院|诊断|来电|来院|来访|"
    "反映|要求|申请|表示|说|，"
)
_GIVEN: Final = f"{_HAN}(?:(?!{_NEXT}){_HAN})?"
_TITLED_GIVEN: Final = f"{_HAN}{{1,2}}"
_TITLED: Final = f"(?:(?:{_COMPOUND}){_TITLED_GIVEN}|[{SURNAMES}]{_TITLED_GIVEN})"
_LABELED: Final = f"(?:(?:{_COMPOUND}){_GIVEN}|[{SURNAMES}{_RARER}]{_GIVEN})"
_DOT: Final = "[·•‧・]"
_DOTTED: Final = f"{_HAN}{{1,8}}(?:{_DOT}{_HAN}{{1,8}}){{1,3}}"
_TITLES: Final = (
    "先生|女士|小姐|同志|老师|老師|医生|醫生|大夫|主任|经理|經理|律师|律師|教授|护士|護士|院长|"
    "院長|护师|护士长"
)
_LABELS: Final = (
    "姓名|联系人|收件人|寄件人|收货人|患者|病人|法定代表人|法人代表|负责人|经办人|持卡人|投保人|"
    "被保险人|受益人|监护人|"
    "客户|户主|申请人|家属|原告|被告|聯繫人|聯絡人|寄件者|收件者|法定代理人|負責人|經辦人|受益人|"
    "監護人|客戶|戶主|申請人|家屬|"
    "紧急联系人|緊急聯絡人"
)
_CUE: Final = (
    rf"(?<=(?:{_LABELS})(?:姓名)?[:： ]{{1,2}})|(?<=姓名(?:是|为|為)[:： ]?)|(?<=我叫|名叫)"
)


def _person(text: str) -> bool:
    return text[:2] not in NO_NAMES


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "CN_PERSON",
        "PERSON",
        bounded(rf"{_TITLED}(?={_TITLES})|(?:{_CUE})(?:{_DOTTED}|{_LABELED})"),
        Gate.HAN,
        0.75,
        0.75,
        _person,
    ),
    Rule("CN_PERSON dotted", "PERSON", bounded(_DOTTED), Gate.HAN, 0.4, 0.75),
)
