"""The whole AWS program, run by the engine itself: what mocks cannot show, because under them everything is known at
once and nothing is ever replaced or deleted."""

from __future__ import annotations

from rehearsal import GOLDEN, PACK, Run


def order(run: Run, verb: str, kind: str, name: str = "") -> list[int]:
    """When the provider did something to the resources of a type, or to the one named."""
    found = [
        number
        for number, step in enumerate(run.steps)
        if step.did == verb and step.type.startswith(f"aws:{kind}:") and name in ("", step.name)
    ]
    assert found, f"nothing was {verb}d that is {kind} {name}"
    return found


def test_everything_comes_up_and_the_policy_pack_agrees(life):
    assert life.up.code == 0, life.up.said[-3000:]
    assert "✅ hybrid-platform" in life.up.said
    assert len(life.up.did("create")) > 250 and not life.up.did("update")


def test_a_second_up_changes_nothing(life):
    assert life.again.code == 0, life.again.said[-3000:]
    assert life.again.steps == []


def test_nodes_come_after_what_makes_them_ready_and_before_what_needs_them(life):
    (cluster,) = order(life.up, "create", "eks/cluster")
    nodes = order(life.up, "create", "eks/nodeGroup")
    for addon in ("cluster-vpc-cni", "cluster-kube-proxy", "cluster-eks-pod-identity-agent"):
        assert cluster < order(life.up, "create", "eks/addon", addon)[0] < min(nodes)
    for addon in ("cluster-coredns", "cluster-aws-ebs-csi-driver", "cluster-metrics-server"):
        assert order(life.up, "create", "eks/addon", addon)[0] > max(nodes)


def test_a_promotion_replaces_the_roots_of_its_release_the_old_one_first(life):
    assert life.promotion.code == 0, life.promotion.said[-3000:]
    done = [(step.did, step.type.split(":")[1], step.name) for step in life.promotion.steps]
    gone, new = (
        done.index(("delete", "autoscaling/group", "vm-ledger-0")),
        done.index(("create", "autoscaling/group", "vm-ledger-0")),
    )
    assert gone < new, "interface and volume can be held by one machine only"
    touched = {(kind, name) for _, kind, name in done if kind != "cloudwatch/metricAlarm"}
    assert touched == {
        ("autoscaling/group", "vm-ledger-0"),
        ("ec2/launchTemplate", "vm-ledger-0"),
        ("ec2/tag", "images-debian-13-promoted"),
    }, "data, address and every other member stay"
    assert GOLDEN not in life.up.said


def test_everything_goes_in_an_order_in_which_aws_lets_it_go(life):
    """Nodes before the add-on that takes their interfaces along; what stands in a group or a subnet before it."""
    assert life.down.code == 0, life.down.said[-3000:]
    nodes = order(life.down, "delete", "eks/nodeGroup")
    assert max(nodes) < order(life.down, "delete", "eks/addon", "cluster-vpc-cni")[0]
    assert max(order(life.down, "delete", "eks/addon")) < order(life.down, "delete", "eks/cluster")[0]
    groups = min(order(life.down, "delete", "ec2/securityGroup"))
    for kind in (
        "autoscaling/group",
        "ec2/networkInterface",
        "codebuild/project",
        "lb/loadBalancer",
        "ec2/vpcEndpoint",
    ):
        assert max(order(life.down, "delete", kind)) < max(order(life.down, "delete", "ec2/securityGroup"))
        assert max(order(life.down, "delete", kind)) < max(order(life.down, "delete", "ec2/subnet"))
    assert max(order(life.down, "delete", "autoscaling/group")) < min(
        order(life.down, "delete", "ec2/networkInterface")
    )
    assert groups > max(nodes)


def test_nothing_is_left(life):
    assert life.left == []
    assert {(s.type, s.name) for s in life.down.did("delete")} == {
        (s.type, s.name) for run in (life.up, life.promotion) for s in run.did("create")
    }


def too_much(config):
    config["cluster"]["container"]["instance_types"] = ["m7i.48xlarge"]
    config["network"]["nat"] = "one"
    config["cluster"]["public_access_cidrs"] = ["192.0.2.0/24"]


def test_the_policy_pack_stops_a_preview(rehearsal, checkout_state):
    """Through the engine, before anything is made; what is wrong is said by the name of its rule."""
    stopped = rehearsal.run("preview", *PACK, edit=too_much)
    assert stopped.code != 0 and stopped.steps == []
    assert "instance-types-are-ordinary" in stopped.said and "m7i.48xlarge with 192 vCPUs" in stopped.said
