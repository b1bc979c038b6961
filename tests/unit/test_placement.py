"""Placement: what the rules promise whatever the answers are, and what they say of the reference platform."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.placement import Plan, Runtime, decide, place
from infra.placement.decide import rule_book
from infra.spec import (
    Checklist,
    Compliance,
    DeployFrequency,
    Isolation,
    Level,
    Maturity,
    OperatorRules,
    Score,
    Spec,
    SpecError,
    Veto,
    Workload,
)
from infra.spec.answers import CHECKLIST, MATURITY, NEEDS, QUESTIONS
from infra.spec.models import Force, MaturityAnswer

checklists = st.builds(
    Checklist,
    isolation=st.sampled_from(Isolation),
    team_maturity=st.sampled_from(Level),
    compliance=st.sampled_from(Compliance),
    deploy_frequency=st.sampled_from(DeployFrequency),
    multi_os=st.booleans(),
    orchestration_tolerance=st.sampled_from(Level),
)


@st.composite
def workloads(draw):
    artifact = {"image": "web"} if draw(st.integers(0, 3)) else {"package": "postgresql"}
    return Workload(
        checklist=draw(checklists),
        os=draw(st.sampled_from(["debian-13", "debian-13", "debian-12"])),
        stateful=draw(st.booleans()),
        untrusted=draw(st.booleans()),
        full_os=draw(st.sampled_from([False, False, True])),
        public=draw(st.booleans()),
        ports=(8080,),
        replicas=draw(st.integers(1, 3)),
        **artifact,
    )


maturities = st.builds(
    Maturity,
    **{
        question: st.builds(lambda yes: MaturityAnswer(answer=yes, evidence="seen"), st.booleans())
        for question in MATURITY
    },
)


@st.composite
def operator_rules(draw):
    """Any rules that the spec accepts: bad ones are what `test_rules_that_could_weaken...` is about."""
    walls = {"isolation": [i.value for i in Isolation], "compliance": [c.value for c in Compliance]}

    def when(stronger: bool) -> dict:
        conditions: dict = {
            question: draw(st.sampled_from(QUESTIONS[question].answers))
            for question in draw(st.sets(st.sampled_from(["stateful", "public", "team_maturity", "ci_cd"]), max_size=2))
        }
        for question in draw(st.sets(st.sampled_from(list(walls)), max_size=2)):
            conditions[question] = {"at_least" if stronger else "at_most": draw(st.sampled_from(walls[question]))}
        return conditions

    ends = [["container"], ["container", "microvm"], ["microvm", "vm"], ["vm"]]
    scores = []
    for index in range(draw(st.integers(0, 3))):
        favours = draw(st.sampled_from(ends))
        scores.append(
            {
                "name": f"s{index}",
                "when": when("vm" in favours),
                "favours": favours,
                "weight": draw(st.integers(0, 9)),
                "reason": "ours",
            }
        )
    vetoes = [
        {
            "name": f"v{index}",
            "when": when(True),
            "at_least": draw(st.sampled_from([r.value for r in Runtime])),
            "reason": "ours",
        }
        for index in range(draw(st.integers(0, 2)))
    ]
    return OperatorRules.model_validate({"vetoes": vetoes, "scores": scores})


def spec_of(workloads_by_name, maturity, rules=None, **fields) -> Spec:
    return Spec(
        version=1,
        name="estate",
        maturity=maturity,
        workloads=workloads_by_name,
        rules=rules or OperatorRules(),
        **fields,
    )


def runtime_of(workload, maturity, rules=None) -> Runtime:
    return place(spec_of({"x": workload}, maturity, rules)).placement("x").runtime


def answering(workload: Workload, **answers) -> Workload:
    return workload.model_copy(update={"checklist": workload.checklist.model_copy(update=answers)})


MATURE = Maturity(**{question: MaturityAnswer(answer=True, evidence="seen") for question in MATURITY})
PLAIN = Workload(
    image="web",
    checklist=Checklist(
        isolation=Isolation.LOW,
        team_maturity=Level.MEDIUM,
        compliance=Compliance.NONE,
        deploy_frequency=DeployFrequency.DAILY,
        multi_os=False,
        orchestration_tolerance=Level.MEDIUM,
    ),
)


@given(workloads(), maturities, operator_rules(), st.sampled_from(["isolation", "compliance"]))
@settings(max_examples=300, deadline=None)
def test_more_isolation_or_compliance_never_weakens_a_placement(workload, maturity, rules, question):
    levels = list(Isolation if question == "isolation" else Compliance)
    strengths = [runtime_of(answering(workload, **{question: level}), maturity, rules).strength for level in levels]
    assert strengths == sorted(strengths)


@given(st.lists(workloads(), min_size=2, max_size=6), maturities, operator_rules(), st.randoms())
@settings(max_examples=100, deadline=None)
def test_neither_order_nor_neighbours_matter(items, maturity, rules, random):
    named = {f"w{index}": workload for index, workload in enumerate(items)}
    shuffled = list(named.items())
    random.shuffle(shuffled)
    together = place(spec_of(dict(shuffled), maturity, rules))
    for name, workload in named.items():
        assert together.placement(name) == place(spec_of({name: workload}, maturity, rules)).placement(name)


@given(workloads(), maturities, operator_rules(), st.sampled_from([["container"], ["microvm", "vm"], ["vm"]]))
@settings(max_examples=100, deadline=None)
def test_a_rule_of_weight_0_changes_nothing(workload, maturity, rules, favours):
    idle = Score.model_validate({"name": "idle", "favours": favours, "weight": 0, "reason": "says nothing"})
    with_it = rules.model_copy(update={"scores": (*rules.scores, idle)})
    spec, changed = spec_of({"x": workload}, maturity, rules), spec_of({"x": workload}, maturity, with_it)
    assert place(spec).placements == place(changed).placements


@given(workloads(), maturities)
@settings(max_examples=100, deadline=None)
def test_equal_input_gives_equal_output(workload, maturity):
    def decide() -> Plan:
        return place(spec_of({"x": workload}, maturity, decided_on=date(2026, 11, 23)))

    assert decide() == decide()


def with_answer(workload: Workload, maturity: Maturity, question: str, answer: str) -> tuple[Workload, Maturity]:
    """The spec with one answer changed, as a person would write it."""
    yes = answer == "yes"
    checklist = workload.checklist
    if question in MATURITY:
        return workload, maturity.model_copy(update={question: MaturityAnswer(answer=yes, evidence="seen")})
    if question in CHECKLIST:
        value = yes if question == "multi_os" else type(getattr(checklist, question))(answer)
        return answering(workload, **{question: value}), maturity
    update: dict = {
        "packaged": {"package": "postgresql" if yes else None, "image": None if yes else "web"},
        "foreign_os": {"os": "debian-12" if yes else "debian-13"},
        "replicated": {"replicas": 2 if yes else 1},
    }.get(question, {question: yes})
    return workload.model_copy(update=update), maturity


@given(workloads(), maturities, operator_rules())
@settings(max_examples=100, deadline=None)
def test_every_single_answer_that_would_move_the_workload_is_told_and_no_other(workload, maturity, rules):
    """Whoever changes the one answer in the file sees the workload move where the flip said; where none is told,
    no single answer moves it."""
    here = place(spec_of({"x": workload}, maturity, rules)).placement("x")
    told = {(flip.question, flip.instead): flip.moves_to for flip in here.flips_with}
    moved: dict[str, dict[str, Runtime]] = {}
    for question in (*CHECKLIST, *NEEDS, *MATURITY):
        for answer in QUESTIONS[question].answers:
            runtime = runtime_of(*with_answer(workload, maturity, question, answer), rules)
            if runtime is not here.runtime:
                moved.setdefault(question, {})[answer] = runtime
    assert told.items() <= {(q, a): r for q, answers in moved.items() for a, r in answers.items()}.items()
    # Of several answers to one question that move it to the same place, only the nearest is told.
    assert {(question, runtime) for (question, _), runtime in told.items()} == {
        (question, runtime) for question, answers in moved.items() for runtime in answers.values()
    }


def test_a_maturity_answer_can_be_what_keeps_state_on_a_vm():
    immature = MATURE.model_copy(update={"scheduling_discipline": MaturityAnswer(answer=False)})
    able = answering(PLAIN, team_maturity=Level.HIGH, orchestration_tolerance=Level.HIGH)
    stateful = able.model_copy(update={"stateful": True})
    placement = place(spec_of({"x": stateful}, immature)).placement("x")
    assert placement.runtime is Runtime.VM
    assert placement.reasons[0].rule == "state-needs-maturity"
    assert ("scheduling_discipline", "yes", Runtime.CONTAINER) in {
        (flip.question, flip.instead, flip.moves_to) for flip in placement.flips_with
    }


def test_a_tie_is_named_and_goes_to_the_stronger_wall():
    medium = answering(PLAIN, isolation=Isolation.MEDIUM)
    placement = place(spec_of({"x": medium}, MATURE, decided_on=date(2026, 1, 1))).placement("x")
    assert (placement.runtime, placement.tied_with, placement.margin) == (Runtime.MICROVM, (Runtime.CONTAINER,), 0)
    assert placement.review_on == date(2026, 4, 1), "a tie is looked at again after 90 days"


def test_the_first_reason_is_the_one_that_decided():
    assert place(spec_of({"x": PLAIN}, MATURE)).placement("x").reasons[0].rule == "low-isolation"
    untrusted = PLAIN.model_copy(update={"untrusted": True})
    assert place(spec_of({"x": untrusted}, MATURE)).placement("x").reasons[0].rule == "untrusted-code"


def test_what_must_be_true_first_is_said():
    ungoverned = MATURE.model_copy(update={"image_governance": MaturityAnswer(answer=False)})
    placement = place(spec_of({"x": PLAIN}, ungoverned)).placement("x")
    assert [p.rule for p in placement.preconditions] == ["image-governance-first"]


def test_an_operators_veto_holds_and_gives_its_reason():
    rules = OperatorRules(
        vetoes=(
            Veto.model_validate(
                {"name": "exposed-on-vms", "when": {"public": True}, "at_least": "vm", "reason": "Our CISO says so"}
            ),
        )
    )
    placement = place(spec_of({"x": PLAIN.model_copy(update={"public": True})}, MATURE, rules)).placement("x")
    assert placement.runtime is Runtime.VM
    assert (placement.reasons[0].text, placement.reasons[0].source) == ("Our CISO says so", "platform.yaml")


def test_force_overrules_scores_but_never_a_veto():
    forced = PLAIN.model_copy(update={"force": Force(runtime=Runtime.VM, reason="kept apart during the audit")})
    placement = place(spec_of({"x": forced}, MATURE)).placement("x")
    assert (placement.runtime, placement.reasons[0].text) == (Runtime.VM, "kept apart during the audit")
    hard = answering(PLAIN, isolation=Isolation.HARD)
    hard = hard.model_copy(update={"force": Force(runtime=Runtime.CONTAINER, reason="cheaper")})
    with pytest.raises(SpecError, match="container is forced, but only vm or stronger will do"):
        place(spec_of({"x": hard}, MATURE))


@pytest.mark.parametrize(
    ("kind", "rule", "told"),
    [
        (Score, {"favours": ["microvm"], "weight": 1}, "must start with container or end with vm"),
        (Score, {"favours": ["container"], "weight": 1, "when": {"isolation": {"at_least": "medium"}}}, "at_most"),
        (Score, {"favours": ["vm"], "weight": 1, "when": {"compliance": "internal"}}, "at_least"),
        (Score, {"favours": ["vm"], "weight": -1}, "greater than or equal to 0"),
        (Veto, {"at_least": "vm", "when": {"isolation": "low"}}, "could weaken a placement"),
        (Veto, {"at_least": "vm", "when": {"isolaton": "hard"}}, "'isolaton' is not a question"),
        (Veto, {"at_least": "vm", "when": {"public": "perhaps"}}, "'perhaps' is not one of no, yes"),
        (Veto, {"at_least": "vm", "when": {"team_maturity": {"below": "high"}}}, "exactly one of at_least and at_most"),
    ],
)
def test_rules_that_could_weaken_a_wall_or_mean_nothing_are_refused(kind, rule, told):
    with pytest.raises(ValidationError, match=told):
        kind.model_validate({"name": "ours", "reason": "ours", **rule})


def test_every_rule_of_the_book_names_its_passage():
    book = rule_book()
    for rule in (*book.vetoes, *book.scores, *book.preconditions):
        assert rule.source != "platform.yaml" and rule.quote, f"{rule.name} has no source"
    names = [rule.name for rule in (*book.vetoes, *book.scores, *book.preconditions)]
    assert len(names) == len(set(names))


def test_the_work_grows_no_faster_than_the_workloads(monkeypatch):
    """In rules asked, which no neighbour on the machine changes; seconds are measured by `benchmarks/placement.py`."""
    asked = 0
    speaks = decide._Rule.speaks

    def counted(rule, mask):
        nonlocal asked
        asked += 1
        return speaks(rule, mask)

    monkeypatch.setattr(decide._Rule, "speaks", counted)

    def work(count: int) -> int:
        nonlocal asked
        asked = 0
        assert (
            len(place(spec_of({f"w{index}": _any_workload(index) for index in range(count)}, MATURE)).placements)
            == count
        )
        return asked

    assert work(10_000) <= 4 * work(2_500) * 1.05


def _any_workload(index: int) -> Workload:
    """A different set of answers for (almost) every index."""

    def pick(answers):
        nonlocal index
        index, choice = divmod(index, len(answers))
        return answers[choice]

    checklist = Checklist.model_construct(
        isolation=pick(list(Isolation)),
        team_maturity=pick(list(Level)),
        compliance=pick(list(Compliance)),
        deploy_frequency=pick(list(DeployFrequency)),
        multi_os=pick((False, True)),
        orchestration_tolerance=pick(list(Level)),
    )
    return PLAIN.model_copy(
        update={
            "checklist": checklist,
            "stateful": pick((False, True)),
            "untrusted": pick((False, True)),
            "public": pick((False, True)),
            "replicas": pick((1, 2)),
        }
    )
