"""See what kind of question it is: its language, its normal form, a masked copy, small talk."""

from __future__ import annotations

import re
import unicodedata

from apps.core.text.language import detect
from apps.core.text.pii import mask
from apps.orchestration.node import Node, RunContext
from apps.orchestration.state import AnswerState, Update

# Control and format characters (zero-width ones among them) are never meant.
UNSEEN = frozenset({"Cc", "Cf", "Cs"})
# Only a whole question counts: "안녕이라는 낱말의 뜻은?" is none of these. The reply to each stands
# in prompts/understand.<name>.<lang>.md.
SMALLTALK: dict[str, re.Pattern[str]] = {
    "greeting": re.compile(
        r"안녕(?:하세요|하십니까|하신가요|히 계세요)?|반가(?:워|워요)|반갑습니다|하이|헬로우?|ㅎㅇ"
        r"|좋은 (?:아침|오후|저녁|하루)(?:이에요|입니다|이네요)?"
        r"|(?:안녕(?:하세요)?[, ]*)?(?:오늘 )?(?:기분|컨디션)[이은]? (?:어때|어떠세|좋으세)요?"
        r"|잘 (?:지내|있어)(?:요|니|세요|셨어요)?"
        r"|(?:hi|hello|hey|howdy|greetings)(?: there| everyone)?|good (?:morning|afternoon|evening)"
        r"|(?:(?:hi|hello|hey)(?: there)?[,!. ]*)?how are you(?: doing)?(?: today)?"
    ),
    "thanks": re.compile(
        r"(?:정말 |너무 |대단히 |매우 )?"
        r"(?:감사(?:합니다|해요|드려요|드립니다)?|고마워(?:요)?|고맙습니다|땡큐)"
        r"|(?:many )?(?:thanks|thx)(?: a lot| so much| very much)?"
        r"|thank you(?: so much| very much)?"
    ),
    "identity": re.compile(
        r"(?:너|넌|너는|당신은|당신)\s?(?:누구|뭐|무엇)(?:야|니|예요|에요|이에요|세요|입니까|인가요)"
        r"|누구(?:세요|십니까|야)|(?:자기 ?)?소개(?:를)? ?(?:좀 )?해 ?(?:줘|주세요)"
        r"|(?:너는 |넌 |당신은 )?(?:무엇을|뭘|뭐를?|어떤 것을) 할"
        r" (?:수 있(?:어|어요|니|나요|습니까)|줄 (?:알아|알아요|아니|아나요|압니까))"
        r"|도움말|도와 ?(?:줘|줘요|주세요)"
        r"|(?:who|what) are you|what can you do|(?:please )?introduce yourself|what is your name"
        r"|(?:please )?help(?: me)?"
    ),
}
CLOSING = " \t.!?~,;:。！？…^ㅎㅋㅠㅜ♥❤☺🙂😊🙏👋"


async def run(state: AnswerState, ctx: RunContext) -> Update:
    """Write `language`, `question_masked` and `smalltalk`; about 20 microseconds."""
    question = normal_form(state["question"])
    return {
        "language": state["language_wanted"] or detect(question),
        "question_masked": mask(question),
        "smalltalk": smalltalk(question),
    }


def normal_form(text: str) -> str:
    """Unicode NFKC, one space for any white space, nothing that cannot be seen."""
    flat = unicodedata.normalize("NFKC", " ".join(text.split()))
    return "".join(char for char in flat if unicodedata.category(char) not in UNSEEN)


def smalltalk(question: str) -> str | None:
    """Name the kind of small talk that a whole question is, if any."""
    core = question.casefold().strip(CLOSING)
    kinds = (kind for kind, pattern in SMALLTALK.items() if pattern.fullmatch(core))
    return next(kinds, None)


NODE = Node(name="understand", run=run, timeout_s=2.0)
