"""Anthropic's SDK for Python, unmodified; `BASE` in the environment: in base-URL mode."""

import json
import os

import anthropic

client = anthropic.Anthropic(api_key=os.environ["KEY"], base_url=os.environ.get("BASE"), max_retries=0)
asked = {"model": "lab-1", "max_tokens": 16, "messages": [{"role": "user", "content": "hello"}]}


def tried(what):
    try:
        return {"ok": what()}
    except anthropic.APIStatusError as error:
        return {"status": error.status_code, "said": error.response.text}
    except anthropic.AnthropicError as error:
        return {"error": repr(error), "cause": repr(error.__cause__)}


def message():
    return client.messages.create(**asked).content[0].text


def streamed():
    with client.messages.stream(**asked) as stream:
        return list(stream.text_stream)


print(json.dumps({"message": tried(message), "streamed": tried(streamed)}))
