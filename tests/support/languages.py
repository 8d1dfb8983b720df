"""Small generated corpora in five languages and English: the words of plain sentences of our own, in random order.

`good(code, …)` gives documents with the words, lengths and marks of running text; `junk(code, …)` what rules about
texts are there to drop.
"""

from __future__ import annotations

import random

SENTENCES = {
    "ko": (
        "나는 오늘 아침에 학교에 가서 친구를 만났다.",
        "이 책은 정말 재미있고 그 안에서 많은 것을 배울 수 있다.",
        "그 사람은 매일 일찍 일어나서 강가를 따라 걷는다.",
        "우리는 여름에 바다로 여행을 갈 것이다.",
        "그리고 그는 아무 말도 하지 않고 집으로 돌아갔다.",
        "하지만 모든 사람이 그 의견에 동의한 것은 아니다.",
        "시청은 새로운 계획을 발표했으며 시민들은 큰 관심을 보였다.",
        "이것은 매우 중요한 문제이기 때문에 함께 생각해야 한다.",
        "도서관에는 여러 나라의 책과 신문이 있다.",
        "그러나 날씨가 나빠서 배는 항구에 머물러 있었다.",
        "또한 두 도시 사이의 길은 점점 좋아지고 있다.",
        "아이들은 공원에서 놀고 어른들은 나무 아래에서 이야기를 나누었다.",
    ),
    "th": (
        "วัน นี้ ฉัน ไป โรงเรียน และ ได้ พบ กับ เพื่อน ของ ฉัน",
        "หนังสือ เล่ม นี้ สนุก มาก และ เรา สามารถ เรียน รู้ ได้ หลาย อย่าง",
        "เขา ตื่น นอน แต่ เช้า ทุก วัน เพื่อ ออก กำลัง กาย ใน สวน",
        "ใน ฤดู ร้อน เรา จะ ไป เที่ยว ทะเล กับ ครอบครัว",
        "แต่ ไม่ใช่ ทุก คน ที่ เห็น ด้วย กับ ความ คิด นั้น",
        "เมือง นี้ มี ห้อง สมุด ที่ มี หนังสือ จาก หลาย ประเทศ",
        "เด็ก เล่น อยู่ ใต้ ต้นไม้ และ ผู้ใหญ่ นั่ง คุย กัน",
        "เรื่อง นี้ เป็น ปัญหา ที่ สำคัญ ซึ่ง เรา ต้อง ช่วย กัน คิด",
        "อากาศ ไม่ ดี จึง ทำให้ เรือ ต้อง จอด อยู่ ที่ ท่า",
        "ตลาด เปิด ตั้งแต่ ตอน เช้า และ ขาย ผัก กับ ผล ไม้",
    ),
    "ar": (
        "ذهبت اليوم إلى المدرسة مع صديقي وتحدثنا عن الكتاب.",
        "هذا الكتاب جميل جدا ويمكن أن نتعلم منه أشياء كثيرة.",
        "في الصيف سوف نسافر إلى البحر مع العائلة.",
        "لكن لم يوافق كل الناس على هذا الرأي.",
        "كان الطقس سيئا ولذلك بقيت السفينة في الميناء.",
        "يوجد في المكتبة كتب وصحف من عدة بلدان.",
        "يلعب الأطفال في الحديقة بينما يجلس الكبار تحت الشجرة.",
        "هذه مسألة مهمة يجب أن نفكر فيها معا.",
        "أعلنت المدينة عن خطة جديدة من أجل الطرق القديمة.",
        "يستيقظ الرجل كل يوم في الصباح ثم يمشي على طول النهر.",
    ),
    "de": (
        "Heute bin ich mit meinem Freund in die Schule gegangen und wir haben viel gelacht.",
        "Das Buch ist sehr schön, und man kann daraus eine Menge lernen.",
        "Im Sommer fahren wir mit der ganzen Familie an das Meer.",
        "Aber nicht alle waren mit dieser Meinung einverstanden.",
        "Das Wetter war schlecht, deshalb blieb das Schiff im Hafen.",
        "In der Bibliothek gibt es Bücher und Zeitungen aus vielen Ländern.",
        "Die Kinder spielen im Park, während die Eltern unter dem Baum sitzen.",
        "Diese Frage ist wichtig, und wir sollten gemeinsam darüber nachdenken.",
        "Der Mann steht jeden Morgen früh auf und geht am Fluss entlang.",
        "Die Stadt hat einen neuen Plan für die alten Straßen vorgestellt.",
    ),
    "hi": (
        "आज मैं अपने मित्र के साथ विद्यालय गया और हमने बहुत बातें कीं।",
        "यह पुस्तक बहुत अच्छी है और इससे हम कई बातें सीख सकते हैं।",
        "गर्मियों में हम परिवार के साथ समुद्र के किनारे जाएँगे।",
        "लेकिन सभी लोग इस विचार से सहमत नहीं थे।",
        "मौसम खराब था इसलिए नाव बंदरगाह पर ही रही।",
        "पुस्तकालय में कई देशों की किताबें और अखबार हैं।",
        "बच्चे बगीचे में खेलते हैं और बड़े पेड़ के नीचे बैठते हैं।",
        "यह एक महत्वपूर्ण प्रश्न है जिस पर हमें मिलकर सोचना चाहिए।",
        "वह आदमी हर दिन सुबह उठकर नदी के किनारे चलता है।",
        "नगर ने पुरानी सड़कों के लिए एक नई योजना बताई है।",
    ),
    "en": (
        "Today I went to the school with a friend, and we talked about the book that we have read.",
        "The library of the town has books and papers from many countries.",
        "In the summer we want to be at the sea with all of the family.",
        "The weather was bad, so the ship had to stay in the harbour.",
        "The children play in the park, and the grown-ups sit under the trees.",
        "This is a question that we should think about with the others.",
        "The man gets up early in the morning to walk along the river.",
        "The town has shown a new plan for the old streets and the bridge.",
    ),
}
SCRIPTS = {"ko": "Hang", "th": "Thai", "ar": "Arab", "de": "Latn", "hi": "Deva", "en": "Latn"}


SPACELESS = frozenset({"th"})  # the blanks above only show where words end


def sentence(code: str, random_: random.Random) -> str:
    """Return a sentence of words of the language in a random order, ended as its sentences are."""
    words = [word.strip(".,।") for line in SENTENCES[code] for word in line.split()]
    picked = [random_.choice(words) for _ in range(random_.randint(7, 16))]
    if random_.random() < 0.2:
        picked.insert(3, str(random_.randrange(10_000)))
    if code in SPACELESS:
        return "".join(picked)
    return " ".join(picked) + ("।" if code == "hi" else ".")


def good(code: str, documents: int, *, seed: int = 0) -> list[str]:
    """Return documents of running text: lines of two to four sentences each."""
    made = []
    for number in range(documents):
        random_ = random.Random(f"{code} {seed} {number}")
        lines = [[sentence(code, random_) for _ in range(random_.randint(2, 4))] for _ in range(random_.randint(6, 12))]
        made.append("\n".join(" ".join(line) for line in lines))
    return made


def junk(code: str, documents: int, *, seed: int = 0) -> list[str]:
    """Return documents that are no running text: by turns one line repeated, and numbers between signs."""
    made = []
    for number in range(documents):
        random_ = random.Random(f"junk {code} {seed} {number}")
        line = sentence(code, random_)
        table = "\n".join(f"{random_.randrange(10**6)} | # {random_.randrange(100)} ..." for _ in range(60))
        made.append("\n".join([line] * 40) if number % 2 else table)
    return made
