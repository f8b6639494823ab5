"""Tests of the sample corpus' plan, of demo-check, train-demo, the miniature and lib.sh: `python3 -m unittest discover -s scripts -p 'test_*.py'`."""
import importlib.machinery
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import sample_corpus
import sample_more
import sample_suite
from sample_plan import CLIPS, FACES, MEMBERS, PHRASES


def load(name):
    path = Path(__file__).parent / name
    spec = importlib.util.spec_from_loader("demo_check", importlib.machinery.SourceFileLoader("demo_check", str(path)))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


miniature = load("figures/miniature.py")
PLACES = ("backbone", "rows", "early", "said", "mask", "time")


class Plan(unittest.TestCase):
    def test_holds_what_the_demo_is_meant_to_show(self):
        rows = [c for c in CLIPS if c["fate"] != "orphan_media"]
        kept = [c for c in rows if c["fate"] == "kept"]
        pairs = [c for c in kept if len(c["people"]) == 2 and len({t["who"] for t in c["turns"]}) == 2]
        fates = {c["fate"] for c in CLIPS}
        self.assertGreaterEqual(len(rows), 24)
        self.assertGreaterEqual(len(kept), 12)
        self.assertGreaterEqual(len(pairs), 4)
        self.assertLessEqual({"no_face", "no_audio", "silent", "unreadable", "missing_media", "duplicate_id",
                              "orphan_media", "filtered:aesthetic.min", "bad_row"}, fates)
        self.assertTrue(any(t["who"] == "offscreen" for c in kept for t in c["turns"]))

    def test_every_turn_fits_and_one_face_keeps_one_voice(self):
        reader_of = {}
        for clip in CLIPS:
            end = 0.0
            for turn in clip["turns"]:
                phrase = PHRASES[turn["phrase"]]
                self.assertGreaterEqual(turn["at"], end, clip["name"])
                end = turn["at"] + phrase["to"] - phrase["from"]
                if turn["who"] != "offscreen":
                    self.assertEqual(reader_of.setdefault(turn["who"], phrase["reader"]), phrase["reader"])
            self.assertLessEqual(end, clip["seconds"], clip["name"])

    def test_names_and_mouths_are_sound(self):
        self.assertEqual(len({c["name"] for c in CLIPS}), len(CLIPS))
        for face in FACES.values():
            self.assertIn(face["file"], MEMBERS)
            for width, height, left, top in (face["solo"], face["duo"]):
                for x, y in face["mouth"]:
                    self.assertTrue(left < x < left + width and top < y < top + height)


class TrainDemo(unittest.TestCase):
    """train-demo-check on folders made here, and the one line that train-demo ends with."""

    def folder(self, losses, missing=()):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        for stage, kinds in (("stage1", ("joint", "speech")), ("stage2", ("joint",)), ("stage3", ("joint",))):
            (folder / f"run-{stage}").mkdir()
            lines = [{"report": {"kind": kind, "loss": loss}} for loss in losses for kind in kinds]
            (folder / f"run-{stage}" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for method in ("base", "trained", "assembled"):
            (folder / f"bench-{method}").mkdir()
            header = {"method": method, "outputs": {"missing": list(missing), "broken": []}}
            (folder / f"bench-{method}" / "bench.json").write_text(json.dumps(header))
        (folder / "report.html").write_text("base trained assembled")
        return folder

    def check(self, folder):
        script = Path(__file__).with_name("train-demo-check")
        return subprocess.run([script, folder], capture_output=True, text=True, timeout=60)

    def test_falling_losses_and_whole_scores_are_as_expected(self):
        ran = self.check(self.folder([2.0 - 0.01 * step for step in range(24)]))
        self.assertEqual(ran.returncode, 0, ran.stdout)
        self.assertIn("stage1 speech: 24 steps, loss 1.975 at first, 1.795 at last", ran.stdout)

    def test_what_differs_is_named(self):
        rising = self.check(self.folder([1.0 + 0.01 * step for step in range(24)]))
        self.assertEqual(rising.returncode, 1)
        self.assertIn("stage2: the loss of joint did not fall", rising.stdout)
        few = self.check(self.folder([1.0, 1.1]))
        self.assertEqual(few.returncode, 0, few.stdout)
        no_number = self.check(self.folder([1.0, float("nan")]))
        self.assertIn("a loss of joint is no number", no_number.stdout)
        clipless = self.check(self.folder([1.0, 1.1], missing=["base/woman_path"]))
        self.assertIn("base: missing clips ['base/woman_path']", clipless.stdout)
        folder = self.folder([1.0, 1.1])
        (folder / "bench-trained" / "bench.json").unlink()
        gone = self.check(folder)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("bench.json is not there; run scripts/train-demo", gone.stdout)

    def test_the_demo_ends_with_one_line_that_says_why(self):
        script = Path(__file__).with_name("train-demo")
        place = dict(os.environ, CARGO_TARGET_DIR="/nowhere")
        for arguments, words in ((["--quik"], "no argument '--quik'"), (["--no-setup"], "no /nowhere/debug/omni")):
            ran = subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60, env=place)
            self.assertEqual(ran.returncode, 1)
            self.assertEqual(len(ran.stderr.strip().splitlines()), 1, ran.stderr)
            self.assertIn(words, ran.stderr)


class Miniature(unittest.TestCase):
    """Check, tables and document of scripts/miniature, on results made here."""

    def folder(self, faces, truth=1.0, losses=(3.0, 1.0)):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        (folder / "early").mkdir()
        points = [{"kind": "joint", "step": step, "video": loss / 2, "audio": loss / 2} for step, loss in enumerate(losses)]
        for row in ("truth", "untrained", "backbone", *miniature.ROWS, *miniature.SAID):
            for seed, face in enumerate(faces):
                self.write(folder / f"{row}-{seed}.json", row, truth if row == "truth" else face, points)
                if row in miniature.EARLY:
                    self.write(folder / "early" / f"{row}-{seed}.json", row, face, points)
        return folder

    def write(self, path, row, face, points):
        names = {reading[1] for readings in (miniature.READINGS, miniature.BACKBONE) for reading in readings.values()}
        none = ("phoneme_errors", "speech_outside", "caption_phonemes", "other_phonemes", "caption_leak")
        readings = {name: [0.0 if name in none else 1.0] for name in names}
        kinds = ("described",) if row == "backbone" else ("clip_words", "utterance_words")
        clips = [{"kind": kind, "readings": dict(readings, face_sim=[face])} for kind in kinds]
        losses = {} if row in ("truth", "untrained") else {"backbone" if row == "backbone" else "all": points}
        path.write_text(json.dumps({"losses": losses, "clips": clips, "processor_seconds": 20.0 + 10.0 * face}))

    def change(self, path, change):
        result = json.loads(path.read_text())
        change(result)
        path.write_text(json.dumps(result))

    def test_means_are_those_of_the_seeds_and_intervals_hold_them(self):
        results = miniature.load(self.folder([0.2, 0.4, 0.9]), "base")
        middle, low, high = miniature.interval(results, miniature.READINGS["face_sim"], random.Random(1))
        self.assertAlmostEqual(middle, 0.5)
        self.assertTrue(0.2 <= low < middle < high <= 0.9, (low, high))
        self.assertIn("| Face: cosine to the true one | 0.25 (0.25 to 0.25) |", miniature.tables(self.folder([0.25]))["rows"])

    def test_a_difference_is_of_the_same_seeds_and_clips(self):
        folder = self.folder([0.5, 0.7, 0.9])
        for seed, value in enumerate((0.1, 0.2, 0.6)):
            for row, less in (("captions-said", value), ("captions-said-unmasked", value + 0.05)):
                self.change(folder / f"{row}-{seed}.json", lambda result: [
                    clip["readings"].update(caption_leak=[less + 0.3 * number]) for number, clip in enumerate(result["clips"])])
        # each row differs from seed to seed and clip to clip, their difference does not
        self.assertIn("| Caption leak, the difference of the two | 0.450 (", miniature.tables(folder)["said"])
        _, low, high = miniature.interval(miniature.load(folder, "captions-said"), miniature.READINGS["leak"], random.Random(1))
        self.assertGreater(high - low, 0.2)
        none = "0.000 (0.000 to 0.000); seeds 0.000, 0.000, 0.000"
        less = "-0.050 (-0.050 to -0.050); seeds -0.050, -0.050, -0.050"
        self.assertIn(f"| Caption leak | {none} | {none} | {less} |", miniature.mask(folder))
        self.change(folder / "captions-said-1.json", lambda result: result["clips"][0]["readings"].pop("speech_outside"))
        failed = self.ran("tables", folder)
        self.assertEqual(failed.stderr, "error: speech_outside of captions-said-1.json and captions-said-unmasked-1.json"
                                        " are not of the same clips\n")
        (folder / "captions-said-1.json").unlink()
        self.assertIn("not of the same seeds: captions-said-0.json, captions-said-2.json, captions-said-un", self.ran("tables", folder).stderr)

    def test_a_run_that_lacks_something_is_told(self):
        self.assertEqual(miniature.check(self.folder([0.5])), [])
        wrong = miniature.check(self.folder([0.5], truth=0.5))
        self.assertEqual(wrong, ["truth-0.json: face_sim of the true latents is 0.500, not 1"])
        risen = miniature.check(self.folder([0.5], losses=(1.0, 2.0)))
        self.assertEqual(risen, ["backbone-0.json: its loss went from 1.000 to 2.000"])
        folder = self.folder([0.5])
        (folder / "ocf-0.json").unlink()
        (folder / "early" / "base-0.json").unlink()
        self.assertEqual(miniature.check(folder), [f"no result of ocf in {folder}", f"no result of base in {folder / 'early'}"])

    def test_a_reading_or_loss_that_is_missing_or_no_number_is_named(self):
        def gone(result):
            for clip in result["clips"]:
                del clip["readings"]["voice_sim"]

        def no_number(result):
            result["clips"][1]["readings"]["phoneme_errors"] = [None]

        def nothing(result):
            result["clips"] = []

        for change, name, said in (
            (gone, "ocf-0.json", "ocf-0.json: voice_sim is not there"),
            (lambda result: result["clips"][0]["readings"].update(caption_phonemes=[None]), "captions-said-0.json",
             "captions-said-0.json: caption_phonemes is no number"),
            (gone, "truth-0.json", "truth-0.json: voice_sim is not there"),
            (no_number, "early/unmasked-0.json", "unmasked-0.json: phoneme_errors of utterance_words is no number"),
            (lambda result: result["clips"][0]["readings"].update(bound=[float("nan")]), "backbone-0.json", "backbone-0.json: bound is no number"),
            (lambda result: result["losses"]["all"][0].update(audio=None), "base-0.json", "base-0.json: a loss of all is no number"),
            (lambda result: result.update(losses={}), "mtp-ca-0.json", "mtp-ca-0.json has no losses"),
        ):
            folder = self.folder([0.5])
            self.change(folder / name, change)
            self.assertEqual(miniature.check(folder), [said])
        folder = self.folder([0.5])
        self.change(folder / "ocf-0.json", nothing)
        self.assertEqual(len(miniature.check(folder)), len(miniature.READINGS))

    def ran(self, *words):
        script = Path(__file__).parent / "figures" / "miniature.py"
        return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=60)

    def test_tables_fail_with_the_name_of_what_is_missing(self):
        folder = self.folder([0.5])
        self.assertEqual(self.ran("check", folder).returncode, 0)
        (folder / "ocf-0.json").unlink()
        self.assertEqual(self.ran("check", folder).returncode, 1)
        failed = self.ran("tables", folder)
        self.assertEqual((failed.returncode, failed.stderr), (1, f"error: no result of ocf in {folder}\n"))
        self.assertEqual(self.ran("table", folder).returncode, 2)

    def test_a_document_gets_its_tables_and_keeps_the_rest(self):
        folder = self.folder([0.5, 0.7])
        places = "".join(f"{name} is\n<!-- scripts/miniature: {name} -->\nold\n<!-- end -->\n" for name in PLACES)
        path = folder / "document.md"
        path.write_text(places + "after\n")
        self.assertEqual(self.ran("document", folder, path).returncode, 0)
        text = path.read_text()
        self.assertNotIn("old", text)
        self.assertTrue(text.endswith("<!-- end -->\nafter\n"), text[-200:])
        self.assertIn("| Face: cosine to the true one | 0.60 (0.50 to 0.70) |\n", text)
        self.assertIn("the backbone 26 s (25 to 27); a row and seed 26 s (25 to 27);\nafter a fifth of the steps 26 s (25 to 27). All that", text)
        self.assertIn("All that is counted: 11.3 minutes.", text)
        path.write_text(places.replace(": early", ": ealry"))
        failed = self.ran("document", folder, path)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("the document has no place for `early`", failed.stderr)

    def test_times_of_runs_that_were_stopped_are_not_counted(self):
        folder = self.folder([0.5, 0.7])
        self.change(folder / "backbone-0.json", lambda result: result.update(processor_seconds=None))
        self.assertIn("the backbone 27 s, 1 of 2 not counted, which were stopped on the way;", miniature.took(folder))

    def test_the_document_has_a_place_for_every_table(self):
        text = (Path(__file__).parent.parent / "docs" / "experiments.md").read_text()
        self.assertEqual(miniature.document(text, {}), text)
        for name in PLACES:
            self.assertNotEqual(miniature.document(text, {name: "other"}), text)


class Environments(unittest.TestCase):
    """python_env of lib.sh, with a stand-in for Python that says its version, has pip or not, and makes environments."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "bin").mkdir()
        (self.folder / "list.txt").write_text("package==1\n")
        self.python(self.folder / "bin" / "python3", version="3.12", pip=True)

    def python(self, path, version, pip):
        path.write_text(f"""#!/usr/bin/env bash
echo "$0 $*" | head -n 1 >>"{self.folder}/asked"
case "$1 $2" in
  "-m venv")
    if [ -e "{self.folder}/no-venv" ]; then mkdir -p "$4/bin"; touch "$4/pyvenv.cfg"; exit 1; fi
    rm -rf "$4"; mkdir -p "$4/bin"; touch "$4/pyvenv.cfg"; cp "$0" "$4/bin/python" ;;
  "-m pip") exit {0 if pip else 1} ;;
  --version*) echo "Python {version}.0" ;;
  -c*) shift; exec {sys.executable} -c "import sys; sys.version_info = ({version.replace('.', ', ')}); $1" "${{@:2}}" ;;
esac
""")
        path.chmod(0o755)

    def environment(self, name, *versions):
        """What python_env does with the folder `name`: exit code, and what it says."""
        library = Path(__file__).with_name("lib.sh")
        words = " ".join(versions)
        command = f'set -eu; . "{library}"; cd "{self.folder}"; python_env {name} list.txt "a minute" {words}; echo "it is $env_python"'
        place = dict(os.environ, PATH=f"{self.folder}/bin:{os.environ['PATH']}")
        ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, env=place)
        return ran.returncode, ran.stdout + ran.stderr

    def asked(self, word):
        lines = (self.folder / "asked").read_text().splitlines() if (self.folder / "asked").exists() else []
        return [line for line in lines if word in line]

    def test_one_is_made_once(self):
        code, said = self.environment("venv", "3.11")
        self.assertEqual(code, 0, said)
        self.assertIn(f"it is {self.folder}/venv/bin/python", said)
        self.assertEqual(len(self.asked("-m venv")), 1)
        self.assertEqual(len(self.asked("pip install")), 1)
        code, said = self.environment("venv", "3.11")
        self.assertEqual(code, 0, said)
        self.assertIn("all there", said)
        self.assertEqual((len(self.asked("-m venv")), len(self.asked("pip install"))), (1, 1))
        (self.folder / "list.txt").write_text("package==2\n")
        self.assertEqual(self.environment("venv", "3.11")[0], 0)
        self.assertEqual((len(self.asked("-m venv")), len(self.asked("pip install"))), (1, 2))

    def test_a_half_made_one_is_made_anew(self):
        (self.folder / "no-venv").touch()
        code, said = self.environment("venv", "3.11")
        self.assertEqual(code, 1)
        self.assertIn("install python3-venv", said)
        self.python(self.folder / "venv" / "bin" / "python", version="3.12", pip=False)
        (self.folder / "no-venv").unlink()
        code, said = self.environment("venv", "3.11")
        self.assertEqual(code, 0, said)
        self.assertEqual((len(self.asked("-m venv")), len(self.asked("pip install"))), (2, 1))

    def test_one_of_another_python_is_made_anew(self):
        self.assertEqual(self.environment("venv", "3.11", "3.12")[0], 0)
        self.python(self.folder / "venv" / "bin" / "python", version="3.9", pip=True)
        self.assertEqual(self.environment("venv", "3.11", "3.12")[0], 0)
        self.assertEqual(len(self.asked("-m venv")), 2)

    def test_a_python_that_does_not_fit_is_named(self):
        for versions, needed in ((["3.13"], "3.13 or later"), (["3.9", "3.11"], "3.9 to 3.11")):
            code, said = self.environment("venv", *versions)
            self.assertEqual(code, 1)
            self.assertIn(f"the packages of list.txt need Python {needed}; 'python3' is Python 3.12.0", said)
        self.assertFalse((self.folder / "venv").exists())

    def test_a_folder_of_other_things_is_left_alone(self):
        (self.folder / "other").mkdir()
        (self.folder / "other" / "letter").write_text("dear")
        code, said = self.environment("other", "3.11")
        self.assertEqual(code, 1)
        self.assertIn("holds something other than a Python environment", said)
        self.assertTrue((self.folder / "other" / "letter").exists())


class Setup(unittest.TestCase):
    def setup_with(self, argument):
        script = Path(__file__).with_name("setup")
        return subprocess.run([script, argument], capture_output=True, text=True, timeout=60)

    def test_help_only_helps(self):
        done = self.setup_with("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--system", done.stdout)
        self.assertNotIn("==>", done.stdout)

    def test_a_typo_starts_nothing(self):
        done = self.setup_with("--sytem")
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown argument '--sytem'", done.stderr)
        self.assertNotIn("==>", done.stdout)


class Suite(unittest.TestCase):
    def test_every_subset_has_cases_and_each_case_all_that_it_names(self):
        cases = [sample_suite.case_of(name, subset, sample_suite.clip_named(own))
                 for name, subset, own, *_rest in sample_suite.CASES]
        self.assertEqual({case["subset"] for case in cases}, {1, 2, 3})
        for case in cases:
            anchors = {subject["anchor"] for subject in case["subjects"]}
            self.assertLessEqual({u["anchor"] for u in case["utterances"]}, anchors)
            self.assertEqual(case["prompt"].count("<S>"), len(case["utterances"]))
            self.assertTrue(all(anchor in case["prompt"] for anchor in anchors))
        narrated = next(case for case in cases if case["case"] == "narrated")
        self.assertEqual([(s["visible"], s["speaks"]) for s in narrated["subjects"]], [(True, False), (False, True)])

    def test_nobody_is_compared_with_the_sound_that_answers_the_case(self):
        for _name, _subset, own, *_rest in sample_suite.CASES:
            for who, (_seen, _place, heard) in sample_suite.REFERENCES.items():
                self.assertFalse(heard and heard[0] == own, (own, who))

    def test_the_check_finds_what_is_no_better_and_what_is_not_there(self):
        check = load("demo-check")
        headers = {m: {"method": m, "networks": [], "outputs": {"missing": []}} for m in ("assembled", "swapped")}
        headers["assembled"]["outputs"]["missing"] = ["assembled/left_out"]

        def rows(cases, values):
            return [{"reading": f"{reading}@net", "case": case, "value": value}
                    for reading, value in values.items() for case in cases]

        cases = [name for name, *_rest in sample_suite.CASES]
        good = {"face_sim": 0.9, "t_sim": 0.7, "wer": 0.1, "face_cons": 0.95, "tf": 0.99}
        bad = {"face_sim": 0.1, "t_sim": 0.1, "wer": 1.1, "face_cons": 0.95, "tf": 0.99}
        seen = [case for case in cases if case != sample_suite.MISSING]
        scores = {"assembled": rows(seen, good), "swapped": rows(cases, bad)}
        self.assertEqual(list(check.bench_errors(headers, scores)), [])
        scores["swapped"] = rows(cases, {**bad, "wer": 0.05})
        self.assertIn("wer: `swapped` is no worse", list(check.bench_errors(headers, scores))[0])
        scores["assembled"] = rows(seen[:5], good)
        self.assertIn("5 and 8 values", " ".join(check.bench_errors(headers, scores)))


class Masks(unittest.TestCase):
    def test_run_lengths_are_those_of_the_reference_library(self):
        rows = [[2 <= y < 8 and 3 <= x < 10 for x in range(16)] for y in range(12)]
        counts = sample_more.run_lengths(rows)
        self.assertEqual(counts, [38] + [6] * 13 + [76])
        self.assertEqual(sample_more.pack(counts), "V16600000000000V2")
        self.assertEqual(sample_more.box_of(rows), [3.0, 2.0, 10.0, 8.0])


class Jaw(unittest.TestCase):
    def test_a_shut_jaw_changes_nothing_and_an_open_one_only_the_lower_face(self):
        width, still = 64, bytes(range(256)) * (64 * sample_corpus.HEIGHT * 3 // 256)
        mouth = [(22.0, 200.0), (42.0, 200.0)]
        self.assertEqual(sample_corpus.open_jaw(still, width, mouth, 0.0, 0), still)
        opened = sample_corpus.open_jaw(still, width, mouth, 0.0, sample_corpus.LEVELS)
        self.assertEqual(opened[:200 * width * 3], still[:200 * width * 3])
        self.assertNotEqual(opened[200 * width * 3:], still[200 * width * 3:])

    def test_flip_mirrors_every_row(self):
        width = 4
        picture = bytes(range(width * 3)) * sample_corpus.HEIGHT
        self.assertEqual(sample_corpus.flip(picture, width)[:12], bytes([9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2]))
        self.assertEqual(sample_corpus.flip(sample_corpus.flip(picture, width), width), picture)


class DemoCheck(unittest.TestCase):
    def setUp(self):
        self.check = load("demo-check")
        self.clip = {"clip": "c", "name": "pair", "people": [{"who": "a", "place": "left"}, {"who": "b", "place": "right"}],
                     "voices": [{"who": "a", "start": 0.0, "end": 1.0}, {"who": "b", "start": 2.0, "end": 3.0}]}
        box = {"s1": [0, 0, 10, 10], "s2": [90, 0, 100, 10]}
        self.records = {
            "clip": {"c": {"width": 100}},
            "track": [{"clip": "c", "subject": s, "frames": [{"box": b}]} for s, b in box.items()],
            "transcript": {"c": {"segments": [{"speaker": "v1", "start": 0.1, "end": 0.9}, {"speaker": "v2", "start": 2.1, "end": 2.9}]}},
            "binding": {"c": {"subjects": [{"subject": "s1", "speaker": "v1"}, {"subject": "s2", "speaker": "v2"}]}},
        }

    def test_counts(self):
        expected = {"counts": {"kept": 2, "silent": 1}}
        self.assertEqual(list(self.check.check_counts({"listed": 3, "kept": 2, "dropped": {"silent": 1}}, expected)), [])
        wrong = list(self.check.check_counts({"listed": 3, "kept": 2, "dropped": {"no_audio": 1}}, expected))
        self.assertEqual(len(wrong), 2)

    def test_voices(self):
        self.assertEqual(list(self.check.check_voices(self.clip, self.records)), [])
        swapped = self.records["binding"]["c"]["subjects"]
        swapped[0]["speaker"], swapped[1]["speaker"] = "v2", "v1"
        self.assertEqual(len(list(self.check.check_voices(self.clip, self.records))), 2)
        swapped[0]["speaker"] = swapped[1]["speaker"] = None
        self.assertEqual(len(list(self.check.check_voices(self.clip, self.records))), 2)


if __name__ == "__main__":
    unittest.main()
