"""Canaries: the private parts of wandb-workspaces that the dashboard needs are there and act as it expects."""

import pytest

ws = pytest.importorskip("wandb_workspaces.workspaces", reason="wandb-workspaces is not installed (extra: dashboard)")
wr = pytest.importorskip("wandb_workspaces.reports.v2")


def test_a_workspace_is_sent_under_the_name_and_id_that_it_is_given():
    from safe_exp.reporting.compat import identify, recorded

    earlier, workspace = (ws.Workspace(entity="lab", project="fakes") for _ in range(2))
    with recorded("fakes") as sent:
        identify(earlier, "nw-a-v")
        earlier.save()  # W&B's answer gives it an id
        identify(workspace, "nw-a-v", earlier)
        workspace.save()
        assert workspace.url == "https://wandb.ai/lab/fakes?nw=a"
    assert [(each["name"], each.get("id")) for each in sent] == [("nw-a-v", None), ("nw-a-v", "id")]


def test_a_report_is_recorded_without_an_account_and_the_client_is_put_back():
    import wandb

    from safe_exp.reporting.compat import recorded

    before = wandb.Api
    with recorded("fakes") as sent:
        wr.Report(entity="lab", project="fakes", title="t", blocks=[wr.PanelGrid(
            runsets=[wr.Runset(entity="lab", project="fakes")], panels=[wr.RunComparer()])]).save()  # fmt: skip
    assert [each["displayName"] for each in sent] == ["t"]
    assert wandb.Api is before
