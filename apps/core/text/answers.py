"""Where in a sentence something stands that could answer a question of a given kind."""

from __future__ import annotations

import re

from apps.core.text.measures import DURATION, LENGTH, MONEY, WEIGHT
from apps.core.text.names import TITLES
from apps.core.text.numbers import ANY_DIGIT, Quantity, quantities
from apps.core.text.questions import AnswerType, Question
from apps.core.text.subjects import Said
from apps.core.text.thesaurus import alike
from apps.core.text.tokens import stems

Span = tuple[int, int]

TIME_UNITS = frozenset({"year", "month", "day", "decade", "century", "clock", "quarter"})
# "공고 제2025-87호" is the name of a notice and no date.
DOCUMENT_NUMBER = re.compile(r"제\s?\d+(?:-\d+)?\s?호|\b[Nn]o\.\s?\d+(?:-\d+)?")
PLAIN_YEAR = re.compile(r"1\d{3}|20\d\d")
TIME_WORDS = re.compile(
    r"\b(?:19|20)\d\ds?\b|\b(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b"
    r"|[월화수목금토일]요일|(?:오전|오후|새벽|저녁)\s?\d|세기|시대|연간|\bcentury\b|\bera\b",
    re.IGNORECASE,
)
# "몇 시" asks for none of the dates above.
CLOCK = re.compile(
    r"(?<!\d)(?:[01]?\d|2[0-4]):[0-5]\d(?!\d)|(?:오전|오후|새벽|저녁|밤|낮)\s?\d{1,2}시|\d{1,2}시(?!간)"
    r"|정오|자정|\b\d{1,2}\s?(?:[ap]\.?m\b\.?|o'clock)|\bnoon\b|\bmidnight\b",
    re.IGNORECASE,
)
FLOOR = re.compile(
    r"(?:지하\s?|지상\s?)?\d+\s?층|\b\d+(?:st|nd|rd|th)\s(?:and\s\d+(?:st|nd|rd|th)\s)?floors?\b"
    r"|\b(?:ground|first|second|third|fourth|fifth|sixth|top)\sfloor\b|\bbasement\b",
    re.IGNORECASE,
)
# Of a switchboard it is a bare number of three to five digits; masking leaves stars.
PHONE = re.compile(
    r"(?<![\d-])0\d{1,2}[-) ]\s?\d{3,4}-\d{4}(?!\d)|(?<![\d-])1\d{3}-\d{4}(?!\d)"
    r"|\d[\d*]*\*[\d*]*-[\d*-]+|\+\d[\d ()-]{7,}\d"
    r"|(?:내선|\bext(?:ension)?\b)\D{0,8}\d{3,5}|(?<=\| )\d{3,5}(?= \|)",
    re.IGNORECASE,
)
MAIL = re.compile(r"[\w.*+-]+@[\w.*-]+")
FAX = re.compile(r"(?:팩스|\bfax\b)\D{0,12}\d[\d* ()-]+", re.IGNORECASE)
FORMS = {"clock": CLOCK, "floor": FLOOR, "phone": PHONE, "fax": FAX, "mail": MAIL}
# An answer to "how much" that is no number.
FREE = re.compile(
    r"무료|무상|면제|공짜|받지\s않|\bfree\b|\bno (?:charge|cost|fee|fine)s?\b|\bcosts? nothing\b",
    re.IGNORECASE,
)
PERIOD = re.compile(
    r"하루|이틀|사흘|나흘|닷새|엿새|이레|열흘|보름|일주일|한\s?달|두\s?달|석\s?달|반\s?년|즉시|당일"
    r"|\b(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|half|several|few)\s"
    r"(?:(?:more|working|business)\s)?(?:second|minute|hour|day|week|month|year|decade|centur)\w*"
    r"|\bat once\b|\bimmediately\b|\bovernight\b",
    re.IGNORECASE,
)
# "three buildings" says nothing of a height.
EXTENT = re.compile(
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|half an?|several|a few)\s"
    r"(?:(?:centi|kilo|milli)?met(?:re|er)s?|feet|foot|inch(?:es)?|miles?|(?:kilo)?grams?|tons?|tonnes?)\b",
    re.IGNORECASE,
)
# Of what it counts an English number says next; a Korean one may say it before, and so may a
# number at the end of its clause.
PLAIN_NUMBER = re.compile(r"[\w.,]*(?:\s(?:million|billion|thousand))?\s[A-Za-z]")
REACH = 60
COUNTED_WITHIN = 4
WEEKDAY = re.compile(
    r"[월화수목금토일]요일|(?:mon|tues|wednes|thurs|fri|satur|sun)days?", re.IGNORECASE
)
NUMBER_WORDS = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty"
    r"|sixty|hundred|thousand|million|half|third|quarter|dozen|several)\b"
    r"|(?:한|두|세|네|다섯|여섯|일곱|여덟|아홉|열|스무)\s?(?:명|개|번|차례|가지|곳|살|시간|달|배|대|그루|마리|권|장|채)"
    r"|절반|수십|수백|수천",
    re.IGNORECASE,
)
SURNAMES = (
    "김이박최정강조윤장임한오서신권황안송류전홍고문양손배백허유남심노하곽성차주우구민진지엄채원천방공현함변"
    "염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국어은편용"
)
# Three syllables that begin with a surname, unless the last may be a particle or ends a place
# or a thing ("주차장을", "신청서").
NO_NAME_ENDS = "장실관당점품료증례법물년분층권역길군구해에의을를는"
KOREAN_NAME = re.compile(
    rf"(?<![가-힣])[{SURNAMES}][가-힣][가-힣](?<![{NO_NAME_ENDS}])(?:(?=(?:은|는|이|가|을|를|의|와|과|에게|께서|씨|도|에|로)"
    rf"(?![가-힣])|\s?(?:{TITLES})|[,·(）)])|(?<![은는이가을를의와과도에로시동청원])(?=\s|$))"
)
KOREAN_TITLED = re.compile(rf"(?<![가-힣])[가-힣]{{2,6}}\s?(?:{TITLES}|천황|여왕|왕자|공주|황후)")
# "신청자", "주민이", "교통행정과가": who does something need not have a name.
KOREAN_AGENT = re.compile(
    r"(?:[가-힣]+(?:(?<![숫글문의탁상투이한])자|객|꾼|[주시국농어난]민|[위의직회무]원|구성원|[학업강험]생|청소?년"
    r"|[호의검판교기목]사|관리사|[문작악축치]가|[국본개노여청리애]인|[과국관원팀부의위]장|[시구찰]청|의회|원회|협회"
    r"|[재의악극구사]단|(?<![결효성])과|팀|사람|분들|아이|부모|산모|자녀|어르신|어린이|가족|가구)|누구나|본인)(?:들)?"
    r"(?=(?:은|는|이|가|께서|에게|의|을|를|로|와)(?![가-힣])|\s?[|;,.)]|\s*$)"
)
ENGLISH_AGENT = re.compile(
    r"\b(?:people|persons?|residents?|citizens?|anyone|anybody|everyone|whoever|members?|staff|students?"
    r"|parents?|famil(?:y|ies)|child(?:ren)?|nationals?|(?:wo)?m[ae]n|riders?|workers?|users?|callers?"
    r"|lawyers?|teachers?|scientists?|administrators?|operators?|offices?|divisions?|departments?|centres?"
    r"|[a-z]{4,}(?:ers|ors|ists|ians)|police|council|committee|company|city|you)\b",
    re.IGNORECASE,
)
WHO = (KOREAN_NAME, KOREAN_TITLED, KOREAN_AGENT, ENGLISH_AGENT)
LATIN_NAME = re.compile(
    r"(?<![A-Za-z])[A-ZÀ-Þ][A-Za-z0-9À-ɏ'’.-]*"
    r"(?:\s(?:(?:of|de|van|von|der|la|le|bin|ibn|al|the|and|&)\s)?[A-ZÀ-Þ][A-Za-z0-9À-ɏ'’.-]*)*"
)
KOREAN_PLACE = re.compile(
    r"[가-힣A-Za-z]{1,10}(?:시|도|군|구|읍|면|동|리|국|주|현|성|역|공항|대학교?|학교|병원|교회|성당|궁|산|강|섬"
    r"|광장|경기장|극장|호텔|건물|센터|공원|지방|지역|국가|대륙|법원|감옥|교도소|미술관|박물관)(?=[에의은는이가을를로서와과,.\s)]|$)"
    r"|미국|영국|중국|일본|독일|프랑스|러시아|소련|이탈리아|스페인|한국|북한|캐나다|브라질|[가-힣]{2,}(?=에서|으로\s)"
)
REASON = re.compile(
    r"때문|이유|원인|까닭|위해|위하여|말미암|인하여|인해|덕분|탓|므로|(?:아|어|여|해|라)서[\s,]|으니|니까"
    r"|\b(?:because|due to|since|as a result|in order to|caused? by|so that|therefore|owing to)\b"
    r"|\breasons?\b|\bto \w+",
    re.IGNORECASE,
)
MANNER = re.compile(
    r"으로써|로써|방법|통해|통하여|사용(?:하|해)|이용(?:하|해)|하려면|다음과 같|단계|먼저"
    r"|호출|설정|실행|세요|십시오"
    r"|\bby \w+ing\b|\b(?:using|through|with|via|first|step|run|use|set)\b",
    re.IGNORECASE,
)
LIST = re.compile(
    r"[,·、][^,·、]{1,40}[,·、]|첫째|둘째|등(?:이|을|의|\s)|\b(?:and|such as|including)\b|^[-*•]"
)
# What stands before or after a value and changes what it says.
BOUND_BEFORE = re.compile(
    r"(?:(?:최대|최소|최고|최저|적어도|많아야|하루|매월|매년|매주|매일|약|만|월|각각)\s"
    r"|\b(?:at (?:least|most)|up to|more than|less than|no more than|about|around|within|until|by"
    r"|before|after|from|every|over|under|only)\s(?:the\s)?)$",
    re.IGNORECASE,
)
BOUND_AFTER = re.compile(
    r"\s?(?:(?:전|이전|이후|후|뒤|안|이내|내)(?:까지|부터|에)?|(?:까지|부터|이상|이하|미만|초과|씩|마다|동안|정도))"
    r"(?![가-힣])"
    r"|\s(?:or (?:more|less|older|younger|over|under)|and (?:over|under|older)|in advance|ago|each"
    r"|per \w+|an? (?:day|week|month|year|hour))\b",
    re.IGNORECASE,
)


def fitting(question: Question, sentence: str) -> list[Span]:
    """Spans of `sentence` that fit the kind of answer and are not in the question itself."""
    known = question.text.casefold()
    spans = _spans(question, sentence)
    return [span for span in spans if sentence[span[0] : span[1]].casefold().strip() not in known]


def bounded(sentence: str, span: Span) -> str:
    """The span and the words that make a bound of it: "3일 전까지", "at least 16"."""
    before, after = BOUND_BEFORE.search(sentence, 0, span[0]), BOUND_AFTER.match(sentence, span[1])
    return sentence[before.start() if before else span[0] : after.end() if after else span[1]]


def is_typed(kind: AnswerType) -> bool:
    """Whether `fitting` can tell a sentence that fits from one that does not."""
    return kind not in ("thing", "yes_no", "definition")


def _spans(question: Question, sentence: str) -> list[Span]:
    kind = question.answer_type
    form = FORMS.get(question.units[0]) if question.units else None
    if form is not None:
        return [match.span() for match in form.finditer(sentence)]
    if kind == "time":
        return times(sentence)
    if kind == "number":
        return _numbers(question, sentence)
    patterns: dict[AnswerType, tuple[re.Pattern[str], ...]] = {
        "person": (*WHO, LATIN_NAME),
        "place": (KOREAN_PLACE, LATIN_NAME),
        "reason": (REASON,),
        "manner": (MANNER,),
        "list": (LIST,),
    }
    found = (match for pattern in patterns.get(kind, ()) for match in pattern.finditer(sentence))
    # A capital at the start of an English sentence says nothing.
    return [match.span() for match in found if match.re is not LATIN_NAME or _is_name(match)]


def _is_name(match: re.Match[str]) -> bool:
    return match.start() > 0 or " " in match.group()


def times(sentence: str) -> list[Span]:
    """Dates and periods; neighbouring parts of one date are one span."""
    flat = DOCUMENT_NUMBER.sub(lambda match: "_" * len(match.group()), sentence)
    spans = [(one.start, one.end) for one in quantities(flat) if _is_time(one)]
    spans += [match.span() for match in TIME_WORDS.finditer(flat)]
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and not sentence[merged[-1][1] : start].strip(" ,.-/년월일의of~～"):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _is_time(one: Quantity) -> bool:
    return one.unit in TIME_UNITS or (not one.unit and PLAIN_YEAR.fullmatch(one.value) is not None)


def _numbers(question: Question, sentence: str) -> list[Span]:
    asked = set(question.units)
    found = [one for one in quantities(sentence) if not asked or one.unit in asked]
    spans = [(one.start, one.end) for one in found]
    if not asked:
        spans = [(one.start, one.end) for one in found if not _is_time(one)]
    spans += [match.span() for match in _words(question.units).finditer(sentence)]
    return [one for one in spans if counts(question.counted, sentence, one)]


def counts(noun: str, sentence: str, span: Span) -> bool:
    """Whether the number at `span` is one of `noun`: "46 stations", "stations: 46", "역 46곳".

    Of "212 spaces" in a sentence about car parks it is none of car parks. Any number will do
    when no noun is counted.
    """
    if not noun:
        return True
    start, end = span
    after = ANY_DIGIT.split(sentence[end : end + REACH], maxsplit=1)[0]
    near = [*stems(sentence[start:end]), *stems(after)[:COUNTED_WITHIN]]
    if not PLAIN_NUMBER.match(sentence, start):
        near += stems(sentence[max(0, start - REACH) : start])[-COUNTED_WITHIN:]
    said = Said(frozenset(near), " ".join(near))
    return any(said.holds(one) == 1.0 for one in (noun, *(other for _, other in alike(noun))))


def _words(units: tuple[str, ...]) -> re.Pattern[str]:
    """What answers without a digit."""
    if units == MONEY:
        return FREE
    if units in (LENGTH, WEIGHT):
        return EXTENT
    return PERIOD if units[: len(DURATION)] == DURATION else NUMBER_WORDS
