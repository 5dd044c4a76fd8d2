"""What kind of answer a Korean or English question wants, and which of its words carry content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from apps.core.text.measures import DURATION, ENDING, LASTING, english_units, form, korean_units
from apps.core.text.names import TITLES
from apps.core.text.tokens import stem

AnswerType = Literal[
    "time",
    "person",
    "place",
    "number",
    "reason",
    "manner",
    "definition",
    "list",
    "yes_no",
    "thing",
]


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the extractive answerer sees it.

    content: the question without its question words.
    core: `content` without words such as "개념" or "meaning" that a definition need not repeat.
    units: what a number must carry or look like (see `measures`); empty admits any.
    counted: stem of the noun of "how many", beside which its number stands; may be empty.
    """

    text: str
    content: str
    core: str
    answer_type: AnswerType
    units: tuple[str, ...] = ()
    counted: str = ""


KOREAN_TYPES: tuple[tuple[str, AnswerType], ...] = (
    (r"왜(?![가-힣])|이유|까닭|원인|때문인가|무슨 일로|어째서", "reason"),
    (
        r"언제|몇\s*년(?!간|\s*동안|\s*후|\s*만)|몇\s*월|몇\s*시(?!간)|며칠|어느\s*해|어느\s*때",
        "time",
    ),
    (
        rf"(?:년도|연도|날짜|시기|시점|연대|세기|생일|일시|[한은던된인 ](?:해|때|날)){ENDING}",
        "time",
    ),
    (r"누구|누가|누굴|어떤\s*사람|어느\s*사람|(?<![가-힣])뉘", "person"),
    (
        rf"(?:{TITLES}|의장|원장|관장|과장|팀장|국장|교장|총장|소장|구청장|군수)(?:님)?(?:의)?\s?"
        rf"(?:이름|성함|성명){ENDING}",
        "person",
    ),
    # "담당 부서가 어디예요" asks which, not where.
    (r"(?:분야|부문|부서|기관|업체|회사|종목|항목|단계)[이가은는]?\s?어디", "thing"),
    (r"어디|어느\s*(?:나라|도시|지역|곳|학교|대학|역)|무슨\s*(?:나라|도시)", "place"),
    (
        rf"(?:사람|인물|감독|작가|선수|대통령|총리|저자|작곡가|가수|배우|장군|왕|황제|교수|학자|장관){ENDING}",
        "person",
    ),
    (rf"(?:장소|곳|나라|국가|도시|지역|위치|국적|고향|출생지|수도){ENDING}", "place"),
    (r"어떻게|어떡|방법|절차|어찌|어떤\s*식으로|어떤\s*방식", "manner"),
    # "등록하려면?" asks how, "등록하려면 얼마가 드나요?" what it costs.
    (r"[하할]려면(?!.*(?:무엇|뭐|뭘|무슨|어떤|어느|얼마|몇))", "manner"),
    (r"목록|나열|모두\s*(?:말|알려|적)|종류|어떤\s*것들|무엇들|어디어디|뭐뭐|가지를|항목", "list"),
    (
        r"(?:이?란|이?라는\s*(?:것은|건|게))\s*(?:무엇|뭐|뭔|무슨)?\S*\s*[?？]*$|뜻|의미|개념|정의|무엇을\s*말하",
        "definition",
    ),
    (r"^\s*\S+(?:\s\S+)?(?:은|는|이|가)\s*(?:무엇|뭐|뭔)\S*\s*[?？]*$", "definition"),
)
KOREAN_YES_NO = re.compile(
    r"(?:나요?|까요?|가요?|니|냐|죠|지요?|어요?|돼요?|되요?|줘|수\s*있\S*)\s*[?？]*$"
)
KOREAN_ASKS = re.compile(
    r"무엇|무슨|뭐|뭔|뭘|어떤|어느|어떠|어땠|어때|누구|언제|어디|왜|얼마|몇|어떻|어떡"
)
# "When" in the middle of an English question mostly joins a clause; it asks at the start, after a
# comma and a preposition, or at the end.
ASKED = (
    r"(?:^|[,:]\s*(?:and\s+)?)\W*"
    r"(?:(?:so|and|but|since|until|from|in|by|to|for|at|with|of)\s+)?"
)
ENGLISH_TYPES: tuple[tuple[str, AnswerType], ...] = (
    (r"\bwhy\b|\bwhat (?:\w+ )?(?:reason|cause)|\bfor what reason|\bhow come\b", "reason"),
    (
        r"\bhow (?:many|much|long|old|far|tall|large|big|high|often|fast|deep|wide|heavy)\b",
        "number",
    ),
    (
        r"\bwhat (?:\w+ )?(?:percent|percentage|number|amount|proportion|age|price|fee|share)\b",
        "number",
    ),
    (
        rf"{ASKED}when\b|\bwhen\W*$"
        r"|\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade|time)\b",
        "time",
    ),
    (
        rf"{ASKED}who(?:m|se|'s)?\b|\bwho(?:m|se)?\W*$|\bwhich (?:person|man|woman|king)\b",
        "person",
    ),
    (
        rf"{ASKED}where\b|\bwhere\W*$"
        r"|\b(?:what|which) (?:\w+ )?(?:country|city|place|state|town|location|region)\b",
        "place",
    ),
    (
        r"\bhow\b|\bsteps? to\b",
        "manner",
    ),
    (
        r"\blist\b|\bwhich ones\b|\bwhat (?:are|were) (?:the|some|all)\b|\bname (?:all|the|some)\b",
        "list",
    ),
    (
        r"^\s*what(?:'s| is| are) (?:an? |the )?[\w.-]+(?: [\w.-]+)?\s*\??$"
        r"|\bwhat does .+ mean\b|\bdefin\w+|\bmeaning of\b",
        "definition",
    ),
)
ENGLISH_YES_NO = re.compile(
    r"^\s*(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|may|must)\b",
    re.IGNORECASE,
)
ENGLISH_ASKS = re.compile(r"\b(?:what|which)\b", re.IGNORECASE)
KOREAN_QUESTION_WORDS = re.compile(
    r"(?:얼마나|며칠이?나?|얼마\s동안)\s(?:더\s)?(?:걸[리려릴]|소요)\S*|무엇\S*|무슨|뭐\S*|뭔\S*|뭘|어떤|어느|어떠\S*|어땠\S*|누구\S*|누가|누굴|언제\S*|며칠\S*|어디\S*|왜|얼마\S*"
    r"|몇\s*\S+|어떻게|어떡\S*|(?:알려|가르쳐|말씀해|설명해)\s?(?:줘|주)\S*(?:\s수\s있\S*)?|설명해?\S*|말해\S*"
    r"|궁금\S*|안녕하(?:세요|십니까)|혹시|죄송하지만|실례(?:지만|합니다)|부탁(?:드|해|합)\S*|(?<!\S)좀(?!\S)"
    r"|감사(?:합니다|드립니다|해요)|고맙습니다|고마워요?|(?<!\S)(?:뭔지|누군지|언젠지|얼만지)(?!\S)"
    r"|(?<=[은는이가] )인가요?|입니까|이름은|무엇|[?？]"
)
ENGLISH_QUESTION_WORDS = re.compile(
    r"\bwhat time\b|\bhow (?:long|often|old|far|tall|large|big|high|fast|deep|wide|heavy|soon)\b"
    r"|\b(?:would|want|need|like) to know\b|\bif possible\b|\bexcuse me\b"
    r"|\bthank you\b"
    r"|\b(?:hello|hi|hey|sorry|thanks|kindly)\b"
    r"|\b(?:what|which|who|whom|whose|when|where|why|how|many|much|do|does|did|is|are|was|were|be|been"
    r"|the|a|an|of|in|on|at|to|for|by|from|with|and|or|as|that|this|it|its|their|his|her|i|my|me|you"
    r"|your|can|could|would|will|should|has|have|had|there|name|please|tell|about|give)\b|[?]",
    re.IGNORECASE,
)
# The ending of the verb that asks: "계산하나요?" wants what says "계산".
KOREAN_ASKING_END = re.compile(
    r"(?<=[가-힣])(?:(?:하|되)?(?:였|었|았|했|됐|겠)?(?:나요|는가요|은가요|가요|는가|은가|던가|까요|까|습니까"
    r"|나|냐|니|죠|지요|어요|아요)|(?:하|되)?려면|했어|됐어|해요?|돼요?)(?=\s*[?？.!~]*\s*$)"
)
COUNTED = re.compile(
    r"\bhow many (?:(?:[a-z-]+ ){0,3}?(?P<noun>[a-z]+)(?= (?:of|is|are|was|were|do|does|did|can"
    r"|could|will|would|has|have|had|may|must|should)\b)|(?P<first>[a-z]+))",
    re.IGNORECASE,
)
MASKED = re.compile(r"\S*\*{2,}\S*")
META_WORDS = re.compile(
    r"(?:주요|핵심|기본)?\s*(?:개념|정의|의미|뜻|특징|설명|차이점?|방법|종류|이유)\S*|\b(?:main|key|basic)\b"
    r"|\b(?:concepts?|definitions?|meaning|mean|means|overview|explain|difference|between|way)\b",
    re.IGNORECASE,
)
ONE_WORD = 2


def analyse(text: str) -> Question:
    """Read the kind of answer off the question's words; the first matching rule decides.

    What was masked ("01**-****-****") says nothing and is left out.
    """
    text = _without(MASKED, text)
    content = _content(text)
    kind, units = _kind(text)
    counted = _counted(text) if kind == "number" and not units else ""
    return Question(text, content, _without(META_WORDS, content), kind, units, counted)


def _content(text: str) -> str:
    korean = _without(KOREAN_ASKING_END, _without(KOREAN_QUESTION_WORDS, text))
    return _without(ENGLISH_QUESTION_WORDS, korean)


def _counted(text: str) -> str:
    """The last noun before a verb that may follow: "How many electric bicycles are there?"."""
    found = COUNTED.search(text)
    return stem((found["noun"] or found["first"]).lower()) if found else ""


def _without(pattern: re.Pattern[str], text: str) -> str:
    rest = pattern.sub(" ", text)
    return rest if any(char.isalnum() for char in rest) else text


def _kind(text: str) -> tuple[AnswerType, tuple[str, ...]]:
    named, counted = form(text), korean_units(text)
    if named is not None:
        return ("time" if named == "clock" else "number"), (named,)
    if LASTING.search(text):
        return "number", DURATION
    for pattern, kind in KOREAN_TYPES:
        if re.search(pattern, text):
            return kind, ()
    if counted is not None:
        return "number", counted
    for pattern, kind in ENGLISH_TYPES:
        if re.search(pattern, text, re.IGNORECASE):
            return kind, english_units(text) if kind == "number" else ()
    return _without_question_word(text), ()


def _without_question_word(text: str) -> AnswerType:
    if ENGLISH_YES_NO.search(text):
        return "yes_no"
    if KOREAN_ASKS.search(text) or ENGLISH_ASKS.search(text):
        return "thing"
    if len(text.split()) <= ONE_WORD and not text.rstrip().endswith(("?", "？")):
        return "definition"
    return "yes_no" if KOREAN_YES_NO.search(text) else "thing"
