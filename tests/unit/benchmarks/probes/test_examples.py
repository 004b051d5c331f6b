from benchmarks.probes.examples import TASKS, Caption, draw_captions, examples_of
from llm4gen_data.scenes.facts import truth_facts
from llm4gen_data.scenes.sample import sample_scene
from llm4gen_data.scenes.vocabulary import COLORS, RELATIONS, SHAPES


def test_what_is_asked_is_true_of_the_scene() -> None:
    captions = draw_captions(30)
    examples = examples_of(captions)
    assert {example.task for example in examples} == set(TASKS)
    for example in examples:
        caption = captions[example.caption]
        truth = truth_facts(sample_scene(caption.seed))
        for start, end in example.spans:
            assert caption.text[start:end].strip() == caption.text[start:end] != ""
        if example.task == TASKS[0]:
            assert example.label in {o.color for o in truth.objects}
            assert example.label in COLORS
        elif example.task == TASKS[1]:
            assert example.label in {o.shape for o in truth.objects}
            assert example.label in SHAPES
        else:
            assert example.label in RELATIONS
            assert len(example.spans) == 2


def test_words_are_those_that_belong_together() -> None:
    text = "A red circle and a blue square. The circle stands to the left of the square."
    found = examples_of([Caption(0, "dense", text)])
    told = {(e.task, *(text[slice(*span)] for span in e.spans)): e.label for e in found}
    assert told[TASKS[0], "circle"] == "red"
    assert told[TASKS[0], "square"] == "blue"
    assert told[TASKS[1], "blue"] == "square"
    relation = next(e for e in found if e.task == TASKS[2])
    words = [text[slice(*span)] for span in relation.spans]
    assert relation.label == ("left of" if words == ["circle", "square"] else "right of")
    assert next(e for e in found if e.task == TASKS[0]).nearest == "red"


def test_the_nearest_word_is_not_always_right() -> None:
    text = "The star and the heart share the frame. Red belongs to the heart and blue to the star."
    told = {(e.task, text[slice(*e.spans[0])]): (e.label, e.nearest) for e in examples_of([Caption(0, "dense", text)])}
    assert told[TASKS[0], "star"] == ("blue", "red")


def test_where_there_is_nothing_to_keep_apart_nothing_is_asked() -> None:
    same = "A red circle and a red square."
    assert not [e for e in examples_of([Caption(0, "dense", same)]) if e.task != TASKS[2]]
