#!/usr/bin/env python3
"""Pinyin for the phoneme encoder: its data, and the strings that its tests hold it against.

    pip install pypinyin==0.55.0 jieba==0.42.1
    python3 scripts/golden/pinyin.py data model/src/text/pinyin
    python3 scripts/golden/pinyin.py strings model/tests/fixtures/pinyin.tsv

`data` writes readings.txt (a reading a line, then the characters whose first reading it is) and phrases.txt (a phrase a line;
its readings follow where they are not those of its characters), both from pypinyin's dictionaries (MIT).
`strings` writes 1,000 mixed Chinese and English strings of a fixed seed, each with the tokens of F5-TTS by these packages:
the string, a tab, the tokens with a bar between them.
"""
import os
import random
import sys

import jieba
from pypinyin import Style, lazy_pinyin
from pypinyin.constants import PHRASES_DICT, PINYIN_DICT
from pypinyin.style import convert

SEED = 20260728
COUNT = 1000


def numbered(reading):
    """A reading with its tone as a digit at the end; none for the neutral tone."""
    return convert(reading, Style.TONE3, True, default=reading)


def data(folder):
    os.makedirs(folder, exist_ok=True)
    # F5 reads by pinyin what takes three bytes in UTF-8
    single = {chr(code): numbered(found.split(",")[0]) for code, found in PINYIN_DICT.items() if code < 0x10000}
    by_reading = {}
    for character in sorted(single):
        by_reading.setdefault(single[character], []).append(character)
    with open(os.path.join(folder, "readings.txt"), "w", encoding="utf-8") as out:
        for reading in sorted(by_reading):
            out.write(f"{reading} {''.join(by_reading[reading])}\n")
    with open(os.path.join(folder, "phrases.txt"), "w", encoding="utf-8") as out:
        for phrase in sorted(PHRASES_DICT):
            readings = [numbered(of_one[0]) for of_one in PHRASES_DICT[phrase]]
            assert len(readings) == len(phrase), phrase
            plain = readings == [single.get(character) for character in phrase]
            out.write(phrase + ("" if plain else " " + " ".join(readings)) + "\n")


def tokens(text):
    """What F5-TTS reads, as backbone.md, section 11, has it."""
    out = []
    straight = str.maketrans({";": ",", "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
    chinese = lambda c: "\u3100" <= c <= "\u9fff"
    read = lambda piece: lazy_pinyin(piece, style=Style.TONE3, tone_sandhi=True)
    for word in jieba.cut(text.translate(straight)):
        size = len(word.encode())
        if size == len(word):
            if out and size > 1 and out[-1] not in " :'\"":
                out.append(" ")
            out.extend(word)
        elif size == 3 * len(word):
            for character, reading in zip(word, read(word)):
                out.extend([" ", reading] if chinese(character) else [reading])
        else:
            for character in word:
                out.extend([" ", *read(character)] if chinese(character) else [character])
    return out


SUBJECTS = "我 你 他们 小王 这位女士 那个男孩 老板 音乐老师 长江大桥 重庆人 银行行长 会计 单于 Anna Mr. Smith 我的 iPhone 这只猫".split(" ")
VERBS = "不知道 不是 不去 喜欢 想要 觉得 看一看 听一听 一定要 一起去 说过 还没 还给 得到 跑得快 数一数 重新开始 长大了 调查 朝着 曾经 差点儿".split()
OBJECTS = "一个苹果 一天 一年 一次 一点 音乐 快乐 行李 银行 首都 都市 草稿 老鼠 雨伞 展览馆 好几种 五百美元 3.5% 第一名 C++ AT&T 4S店 B超 T恤 卡拉OK 2026年 WiFi ChatGPT DNA 什么 为什么".split()
LINKS = "，|。|！|？|、|；|：|……|——| |, |. |! |: |; |\u201c|\u201d|\u2018|\u2019|(|)|《|》|·|-|\n|…|~|/|%".split("|")
ENGLISH = "Hello there OK I'm fine well-known 3.14 100% e-mail v2.0 COVID-19 U.S. don't café naïve R&B hip-hop no...yes a_b #1 @home".split()
ODD = "ㄅㄆ〇㐀㐁龘鿕鿖豈車カタカナひらがな한국あ𠀀😀Жщéü㎏℃±×①Ⅳ＋ＡＢ１２"


def strings():
    dice = random.Random(SEED)
    words = []
    weights = []
    jieba.initialize()
    for word, count in sorted(jieba.dt.FREQ.items()):
        if count > 0:
            words.append(word)
            weights.append(count)
    phrases = sorted(PHRASES_DICT)
    readable = sorted(chr(code) for code in PINYIN_DICT if 0x4E00 <= code < 0x9FD6)
    kinds = [
        (5, lambda: dice.choice(SUBJECTS) + dice.choice(VERBS) + dice.choice(OBJECTS)),
        (5, lambda: "".join(dice.choices(words, weights, k=dice.randint(2, 6)))),
        (3, lambda: "".join(dice.choices(words, k=dice.randint(1, 3)))),
        (3, lambda: dice.choice(phrases)),
        (3, lambda: " ".join(dice.choices(ENGLISH, k=dice.randint(1, 3)))),
        (1, lambda: dice.choice(OBJECTS) + dice.choice(ENGLISH)),
        (1, lambda: "".join(dice.choices(readable, k=dice.randint(1, 4)))),
        (1, lambda: "".join(dice.choices(ODD, k=dice.randint(1, 2)))),
    ]
    makers = [make for _, make in kinds]
    shares = [share for share, _ in kinds]
    for _ in range(COUNT):
        text = ""
        for make in dice.choices(makers, shares, k=dice.randint(1, 4)):
            text += make() + (dice.choice(LINKS) if dice.random() < 0.7 else "")
        yield text.replace("\n", " ").replace("\t", " ").replace("|", "")


def main():
    what, where = sys.argv[1:]
    if what == "data":
        return data(where)
    with open(where, "w", encoding="utf-8") as out:
        for text in strings():
            out.write(f"{text}\t{'|'.join(tokens(text))}\n")


if __name__ == "__main__":
    main()
