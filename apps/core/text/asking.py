"""Words with which people ask; they say nothing of what is asked for.

In a large corpus they are everywhere and weigh nothing; in a small one, where few passages say
"How do I" or "무엇인가요", they would be rare words and outweigh the subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from apps.core.domain.models import Language
from apps.core.text.tokens import bigrams, stems

Field = Literal["bigrams", "stems"]

KOREAN = """
무엇인가요 무엇인지 무엇일까요 무엇이며 무엇입니까 무슨 뭐예요 뭐야 뭔가요 뭘까요 어떤 어떠한
어떤가요 어느 어떻게 누구인가요 누가 누구의 언제인가요 언제까지 어디인가요 어디에서 왜
얼마인가요 얼마나 얼마예요 몇 있나요 있는가 있을까요 하나요 하는가 했나요 했는가 되나요 되는가
됐나요 되었나요 인가요 일까요 습니까 입니까 알려줘 알려주세요 말해줘 설명해줘 설명해주세요 대해
대해서 관련 경우 위해 위한 통해 안녕하세요 혹시 죄송하지만 실례지만 궁금합니다 궁금해요
부탁드립니다 부탁해요 감사합니다 고맙습니다 주실 주시겠어요 좀
"""
ENGLISH = """
a an the of in on at to for by with and or is are was were be been has have had it its that this as
from do did does what which who whom whose when where why how i my me you your we our can could
would should will may must please tell hello hi sorry thanks thank
"""
ASKING: Mapping[Language, Mapping[Field, frozenset[str]]] = {
    "ko": {"bigrams": frozenset(bigrams(KOREAN)), "stems": frozenset(stems(KOREAN))},
    "en": {"bigrams": frozenset(bigrams(ENGLISH)), "stems": frozenset(stems(ENGLISH))},
}
