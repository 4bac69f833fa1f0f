#!/usr/bin/env python3
"""Compares weir's text repair with ftfy.fix_text (6.3), line by line; prints the rate of equal lines of each kind.

    make build/release/tests/golden/repair_lines
    python3 tests/golden/compare_repair.py [FILE of lines...]

Needs the package ftfy. Exit status 0 when at least 99.5 % of the lines of every kind are equal.
"""
import json
import os
import random
import subprocess
import sys

import ftfy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("REPAIR_LINES", ROOT + "/build/release/tests/golden/repair_lines")
SEEDS = ["The café’s menu — “crème brûlée” for 5 €…", "Ελληνικά κείμενα και λέξεις", "Привет, мир! Как дела?", "日本語のテキスト、テスト。",
         "naïve façade résumé Übergröße straße", "Zażółć gęślą jaźń", "São Paulo, Brasil: educação à distância", "emoji 😀 🇫🇷 👍🏽",
         "temperature 20 °C ± 0.5, ½ cup, x² ≤ 3", "l’été à la plage, voilà", "العربية نص", "हिन्दी पाठ", "Đặng Thị Ngọc", "© 2020 Company® ™",
         "quotes ‘single’ and “double” and «guillemets»", "plain ASCII text, nothing to do"]
ODD = ["&lt;b&gt; &amp;amp; &eacute;&#233;&#xe9; &#150; &#0; &unknown; &NBSP;x", "<b>&amp;</b>", "ﬁnd the ﬂow ﬀ ﬃ Ĳ Ǆ ŉ", "ＦＵＬＬ　ｗｉｄｔｈ ｶﾞ ￥￣ ￠",
       "\x1b[31mred\x1b[0m \x00\x07\x0b\x0c\x7f", "a\r\nb\rc\u2028d\u2029e\x85f", "e\u0301 a\u030a\u0323 \u1e9b\u0323 \uac00 \u1100\u1161",
       "\ufeffbom \ufff9x\u206a", "\x93quoted\x94 \x80 \x99", "Ã\xa0 la carte", "Ã  propos", "voilÃ  le travail", "doesn\u00e2\u20ac\u2122t", "Â© Â® Â·"]
WRONG = ["latin-1", "windows-1252", "sloppy-windows-1252", "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253",
         "sloppy-windows-1254", "sloppy-windows-1257", "iso-8859-2", "macroman", "cp437"]


def garbled(rng, text):
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        try:
            text = text.encode("utf-8").decode(rng.choice(WRONG))
        except UnicodeDecodeError:
            pass
    if rng.random() < .1:
        text = text.replace("\xa0", " ")
    return text


def kinds(rng, files):
    clean = [rng.choice(SEEDS) + " " + rng.choice(SEEDS) for _ in range(500)]
    whole = [garbled(rng, rng.choice(SEEDS)) for _ in range(2000)]
    part = [rng.choice(SEEDS) + " " + garbled(rng, rng.choice(SEEDS)) + rng.choice(SEEDS) for _ in range(1000)]
    odd = ODD + ["".join(rng.choice(ODD + SEEDS)[:20] for _ in range(4)) for _ in range(1000)]
    noise = ["".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(128, 0x250), rng.randrange(0x370, 0x460),
                                     rng.randrange(0x2000, 0x2270), rng.randrange(0xff00, 0xfff0)])) for _ in range(rng.randrange(1, 40)))
             for _ in range(2000)]
    out = {"clean": clean, "mojibake": whole, "part mojibake": part, "odd": odd, "noise": noise}
    for name in files:
        with open(name, encoding="utf-8", errors="replace") as f:
            out[name] = [line.rstrip("\n") for line in f][:20000]
    return out


def main():
    rng, low = random.Random(7), 1.0
    for name, lines in kinds(rng, sys.argv[1:]).items():
        data = "".join(json.dumps(x) + "\n" for x in lines).encode()
        got = subprocess.run([PROGRAM], input=data, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
        pairs = [(x, ftfy.fix_text(x), json.loads(g)) for x, g in zip(lines, got)]
        wrong = [p for p in pairs if p[1] != p[2]]
        rate = 1 - len(wrong) / len(pairs)
        low = min(low, rate)
        print(f"{name}: {len(pairs)} lines, {100 * rate:.2f} % equal")
        for p in wrong[:3]:
            print("   in  %a\n   want %a\n   got  %a" % p)
    return low < .995


sys.exit(main())
