"""Golden images: built, tested, promoted by a pin, retired."""

from __future__ import annotations

import json
import re

import yaml
from recording import CHECKOUT, deploy
from shell import check_shell

from infra.placement import Runtime


def releases(plan) -> set[str]:
    return {workload.os for workload in plan.on(Runtime.VM).values()}


def test_every_release_of_the_vm_tier_has_a_pipeline_that_tests_what_it_builds(deployed, plan):
    for os in releases(plan):
        recipe = deployed.one("imagebuilder/imageRecipe", f"images-{os}").props
        arns = [component["componentArn"] for component in recipe["components"]]
        phases = []
        for component in deployed.of("imagebuilder/component"):
            if any(f"/{component.props['name']}/" in arn for arn in arns):
                document = yaml.safe_load(component.props["data"])
                phases += [phase["name"] for phase in document["phases"]]
                for step in (step for phase in document["phases"] for step in phase["steps"]):
                    check_shell("\n".join(step["inputs"]["commands"]))
                    assert "{{" not in str(step), "Image Builder would take it for an expression of its own"
        assert sorted(phases) == ["build", "test"]
        pipeline = deployed.one("imagebuilder/imagePipeline", f"images-{os}").props
        assert pipeline["imageTestsConfiguration"]["imageTestsEnabled"] and pipeline["schedule"]


def test_the_build_runs_the_collections_playbook_and_the_hygiene_suite(deployed):
    data = " ".join(c.props["data"] for c in deployed.of("imagebuilder/component"))
    assert "playbooks/golden_image.yml" in data and (CHECKOUT / "playbooks" / "golden_image.yml").exists()
    for looked_at in ("/usr/lib/golden-image/hygiene.sh booted", "ssh_host_", "authorized_keys", "--failed"):
        assert looked_at in data, f"the hygiene suite does not look at {looked_at}"


def test_candidates_are_encrypted_and_named_in_a_versioned_parameter(deployed, plan):
    for os in releases(plan):
        (distribution,) = deployed.one("imagebuilder/distributionConfiguration", f"images-{os}").props["distributions"]
        assert distribution["amiDistributionConfiguration"]["kmsKeyId"]
        (parameter,) = distribution["ssmParameterConfigurations"]
        # Image Builder's own role may write parameters below /imagebuilder and log groups below /aws/imagebuilder.
        assert re.fullmatch(rf"/imagebuilder/[\w-]+/{os}/candidate", parameter["parameterName"])
        logs = deployed.one("imagebuilder/imagePipeline", f"images-{os}").props["loggingConfiguration"]
        assert all(group.startswith("/aws/imagebuilder/") for group in logs.values()) and len(logs) == 2


def test_a_candidate_promotes_nothing(deployed):
    """No template reads the parameter: from candidate to root there is no way but a reviewed change of the pin."""
    for template in deployed.of("ec2/launchTemplate"):
        assert "candidate" not in json.dumps(template.props) and "resolve:ssm" not in json.dumps(template.props)


def test_image_versions_change_with_their_content():
    from infra.targets.aws.golden_image import version_of

    assert version_of("a") == version_of("a") != version_of("b")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version_of("a"))


def test_old_images_are_deprecated_then_disabled_then_deleted(deployed):
    (policy,) = deployed.of("imagebuilder/lifecyclePolicy")
    ages = {d["action"]["type"]: d["filter"]["value"] for d in policy.props["policyDetails"]}
    assert ages["DEPRECATE"] < ages["DISABLE"] < ages["DELETE"]
    kept = {d["action"]["type"]: d["filter"].get("retainAtLeast") for d in policy.props["policyDetails"]}
    assert kept == {"DEPRECATE": None, "DISABLE": None, "DELETE": 3}, "only what is deleted can be held back by number"


def test_an_image_says_of_itself_that_it_expires_when_it_is_deprecated(deployed):
    (policy,) = deployed.of("imagebuilder/lifecyclePolicy")
    (age,) = [d["filter"]["value"] for d in policy.props["policyDetails"] if d["action"]["type"] == "DEPRECATE"]
    builds = [c.props["data"] for c in deployed.of("imagebuilder/component") if "golden_image.yml" in c.props["data"]]
    assert builds
    for build in builds:
        assert re.search(rf"HYBRID_LIFETIME={int(age)}\b", build)
        assert "golden_image_lifetime_days=$HYBRID_LIFETIME" in build


def test_old_images_are_those_of_our_recipes_in_any_version(deployed):
    """A recipe's version changes with every edit of a build script; and tags would select what others built, too."""
    (policy,) = deployed.of("imagebuilder/lifecyclePolicy")
    recipes = {recipe.props["name"] for recipe in deployed.of("imagebuilder/imageRecipe")}
    selection = policy.props["resourceSelection"]
    assert {r["name"] for r in selection["recipes"]} == recipes and "tagMap" not in selection
    assert {r["semanticVersion"] for r in selection["recipes"]} == {"x.x.x"}


def test_an_image_that_members_start_from_is_never_retired(prod):
    """A member may run for a year on one image, and its group must be able to launch that one again."""
    image = "ami-0123456789abcdef0"

    def promote(config):
        config["vm_tier"]["images"]["debian-13"]["golden"] = image

    deployed = deploy("aws-prod", promote).deployment
    (mark,) = deployed.of("ec2/tag")
    assert mark.props["resourceId"] == image == deployed.one("ec2/launchTemplate", "vm-ledger-0").props["imageId"]
    for detail in deployed.of("imagebuilder/lifecyclePolicy")[0].props["policyDetails"]:
        assert detail["exclusionRules"]["amis"]["tagMap"] == {mark.props["key"]: mark.props["value"]}
    assert not prod.of("ec2/tag"), "nothing is promoted yet"


def test_a_pinned_parent_is_found_when_it_is_old(recording):
    """A public image is deprecated after two years, and then found only by those who ask for deprecated ones."""
    looked_up = recording.calls["aws:ec2/getAmi:getAmi"]
    assert looked_up and all(arguments["includeDeprecated"] for arguments in looked_up)
    assert all(arguments["owners"] == ["136693071363"] and not arguments["mostRecent"] for arguments in looked_up)
