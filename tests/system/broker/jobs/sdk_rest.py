"""The SDKs of Stripe, GitHub and Slack, unmodified, with a reference where a key would be."""

import json
import os

import github
import slack_sdk
import stripe


def tried(what):
    try:
        return {"ok": what()}
    except Exception as error:  # noqa: BLE001 - each SDK has its own
        return {"error": type(error).__name__, "said": str(error)}


# The one SDK that brings certificates of its own in place of those that the environment names.
client = stripe.StripeClient(
    os.environ["MONEY"], max_network_retries=0, http_client=stripe.RequestsClient(verify_ssl_certs=True)
)
stripe.ca_bundle_path = os.environ["SSL_CERT_FILE"]
hub = github.Github(auth=github.Auth.Token(os.environ["CODE"]), retry=None, seconds_between_requests=0)
talk = slack_sdk.WebClient(token=os.environ["TALK"], retry_handlers=[])

print(json.dumps({
    "customer": tried(lambda: str(client.v1.customers.create(params={"email": "a@example.com"}))),
    "retrieved": tried(lambda: client.v1.customers.retrieve("cus_1").id),
    "charges": tried(lambda: str(client.v1.charges.list())),
    "user": tried(lambda: [hub.get_user().login, hub.get_user().bio]),
    "issue": tried(lambda: hub.get_repo("lab/demo").create_issue(title="found", body="it").number),
    "organisation": tried(lambda: hub.get_organization("others").name),
    "who": tried(lambda: talk.auth_test().data),
    "post": tried(lambda: talk.chat_postMessage(channel="C1", text="hello").data),
}))  # fmt: skip
