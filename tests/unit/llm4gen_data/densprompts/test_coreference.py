"""Other names for things: only such as can mean one thing alone."""

from dataclasses import replace

from llm4gen_data.densprompts.coreference import other_names
from llm4gen_data.densprompts.spec import Entity, Spec

FOX, HEN, KETTLE = Entity("fox", 1, "it"), Entity("hen", 2, "they"), Entity("kettle", 1, "it")
WOMAN, COOK = Entity("baker", 1, "she"), Entity("cook", 1, "she")


def spec(*entities: Entity, setting: str = "in a garden") -> Spec:
    return Spec("animals", "color", "short", setting, "garden", entities, ())


def test_an_animal_is_called_so_if_it_is_the_only_one() -> None:
    assert other_names(spec(FOX, KETTLE)) == (("animal", "creature"), ())
    assert other_names(spec(FOX, HEN))[0] == ("creature",)
    assert other_names(spec(KETTLE, HEN))[1] == ("birds", "animals")


def test_a_person_is_called_by_what_the_pronoun_says() -> None:
    assert other_names(spec(WOMAN, KETTLE))[0] == ("woman",)
    assert other_names(spec(replace(WOMAN, pronoun="he"), COOK)) == (("man",), ("woman",))
    assert other_names(spec(WOMAN, COOK)) == ((), ())
    assert other_names(spec(WOMAN, Entity("woman", 1, "she")))[0] == ()


def test_a_name_that_the_scene_uses_is_taken() -> None:
    assert other_names(spec(FOX, setting="in a garden with animal statues"))[0] == ("creature",)


def test_only_a_group_of_trees_holds_trees() -> None:
    assert other_names(spec(Entity("oak tree", 1, "it")))[0] == ()
    assert other_names(spec(Entity("elm", 1, "it")))[0] == ("tree",)
    assert other_names(spec(Entity("commuter", 1, "he"), KETTLE))[0] == ("man",)  # of the street people
    assert other_names(spec(Entity("anchor", 1, "it")))[0] == ()  # of the boat gear
