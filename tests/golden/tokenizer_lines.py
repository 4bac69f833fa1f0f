"""Varied lines (bytes, not always valid UTF-8) on which two BERT tokenizers may differ. Same seed, same lines."""
import random

WORDS = """the of and a neural ranking model retrieves passages quickly unaffable internationalization deoxyribonucleic
antidisestablishmentarianism GPU's don't e-mail U.S.A. C++ x86-64 naïve café résumé Ångström Zürich São Škoda İstanbul
ıspanak Straße ΟΔΥΣΣΕΥΣ ὈΔΥΣΣΕΎΣ Москва ёлка Україна ελληνικά שָׁלוֹם مُحَمَّد हिन्दी தமிழ் ภาษาไทย မြန်မာ ខ្មែរ አማርኛ ქართული Հայերեն
中文 漢字 日本語 カタカナ ｶﾀｶﾅ ひらがな 한국어 서울 각 ﬁne ½ № ™ ª º ² ﷺ ㎏ ① Ⅳ ǅ ẞ ᾳ ΐ Ǻ ṩ ḱ ą́ Å ſ ϐ""".split()
EMOJI = """😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ❤️ ☎ ⌚️ 🧑🏿‍🚀 🫠 ©️ 1️⃣ #️⃣ 🏴󠁧󠁢󠁳󠁣󠁴󠁿""".split()
SPECIALS = ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "[unused1]", "[mask]", "[ SEP ]", "[SEP", "SEP]", "[[SEP]]", "##ing", "[CLS][SEP]"]
SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2003\u2009\u2028\u2029\u202f\u205f\u3000"
CONTROLS = "\0\x01\x08\x1b\x1f\x7f\x80\x9f\xad\u061c\u180e\u200b\u200c\u200d\u200e\u202e\u2060\ufeff\ufffd\ufff9\ue000\U000e0001\U000f0000\U0010fffd"
PUNCT = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«»¿·‐–—‘’“”…‰€£¥₿←∑√∞≠≮、。「」・！？＄～٪؟।॥᙭𑇉፠‿⁀"
MARKS = "\u0300\u0301\u0308\u0323\u0327\u0328\u0334\u0345\u034f\u05b0\u064b\u0670\u093c\u094d\u0e38\u0f71\u0f72\u1b44\u1baa\u302a\u302e\u302f\u3099\ua953\U0001d165\U0001d166\U0001d167\U0001d16d\U0001d16e\u08d4\u1dfb\u20d0\ufe0f\U0001e000\U0001e944\U0001e94a\U000111c0"
RANGES = [(0x20, 0x7f), (0xa0, 0x250), (0x250, 0x3ff), (0x400, 0x52f), (0x530, 0x7ff), (0x800, 0xdff), (0xe00, 0x10ff),
          (0x1100, 0x11ff), (0x1200, 0x1fff), (0x2000, 0x2bff), (0x2c00, 0x2fff), (0x3000, 0x33ff), (0x3400, 0x9fff),
          (0xa000, 0xabff), (0xac00, 0xd7ff), (0xe000, 0xffff), (0x10000, 0x10fff), (0x11000, 0x11fff),
          (0x12000, 0x1cfff), (0x1d000, 0x1ffff), (0x20000, 0x323af), (0xe0000, 0xe01ff), (0xf0000, 0x10ffff)]
BROKEN = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98",
          b"\x80", b"\xc3", b"\xed\xa0\xbd\xed\xb8\x80", b"\xf8\x88\x80\x80\x80", b"\xe0\x80\xaf"]


def any_char(rng):
    while True:
        cp = rng.randrange(*rng.choice(RANGES))
        if not 0xD800 <= cp < 0xE000:
            return chr(cp)


def some(rng, source, most):
    return "".join(rng.choice(source) for _ in range(rng.randrange(1, most)))


def long_word(rng):
    n = rng.choice([80, 98, 99, 100, 101, 102, 150, 199, 200, 201, 257, 400])
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzéöß0123456789" if rng.random() < .5 else "aéi한") for _ in range(n))


def url(rng):
    host = rng.choice(["example.org", "www.cs.uni-köln.de", "例え.テスト", "127.0.0.1:8080"])
    return "https://%s/%s?q=%s&n=%d#%s" % (host, some(rng, "abc/_-%20~", 20), some(rng, "xyz+", 8), rng.randrange(10**6), some(rng, "ab", 5))


PARTS = [
    lambda r: r.choice(WORDS), lambda r: r.choice(WORDS), lambda r: r.choice(WORDS), lambda r: r.choice(WORDS).upper(),
    lambda r: r.choice(WORDS).lower() + r.choice(["s", "ing", "-", "'s", ""]),
    lambda r: r.choice(EMOJI), lambda r: r.choice(SPECIALS), lambda r: some(r, SPACES, 4), lambda r: some(r, CONTROLS, 3),
    lambda r: some(r, PUNCT, 5), lambda r: r.choice("aoueIn가中ก") + some(r, MARKS, 6),
    lambda r: "".join(any_char(r) for _ in range(r.randrange(1, 8))), lambda r: any_char(r) + r.choice(WORDS) + any_char(r),
    lambda r: str(r.randrange(10**r.randrange(1, 12))), lambda r: "%.3f%%" % r.uniform(-9, 9),
    lambda r: some(r, "abcdefghijklmnopqrstuvwxyz", 16), lambda r: some(r, "АБВгдеёжз", 12), lambda r: some(r, "가각힣한글서울", 6),
    lambda r: some(r, "你好世界中文字𠀀豈﨑㐀", 6), url, long_word,
]
WEIGHTS = [6] * 4 + [4] + [2] * 14 + [1, 1]


def line(rng):
    parts = rng.choices(PARTS, WEIGHTS, k=rng.randrange(1, 14))
    glue = rng.choice([" ", " ", " ", "", "  "])
    out = b""
    for i, part in enumerate(parts):
        out += (glue if i else "").encode() + part(rng).encode("utf-8", "surrogatepass")
        if rng.random() < .02:
            out += rng.choice(BROKEN)
    return out


def lines(n, seed=1):
    rng = random.Random(seed)
    return [b"", b" ", b"\0", b"a\0b", b"\xef\xbf\xbd"] + [line(rng) for _ in range(n - 5)]
