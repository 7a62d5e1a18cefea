"""OpenAI's SDK for Python, unmodified; `BASE` in the environment: in base-URL mode."""

import json
import os

import openai

client = openai.OpenAI(api_key=os.environ["KEY"], base_url=os.environ.get("BASE"), max_retries=0)
asked = {"model": "lab-1", "messages": [{"role": "user", "content": "hello"}]}


def tried(what):
    try:
        return {"ok": what()}
    except openai.APIStatusError as error:
        return {
            "status": error.status_code,
            "said": error.response.text,
            "id": error.response.headers.get("x-request-id"),
        }
    except openai.OpenAIError as error:
        return {"error": repr(error), "cause": repr(error.__cause__)}


def chat():
    return client.chat.completions.create(**asked).choices[0].message.content


def streamed():
    return [chunk.choices[0].delta.content for chunk in client.chat.completions.create(**asked, stream=True)]


def raw():
    answer = client.chat.completions.with_raw_response.create(**asked)
    return dict(answer.headers)


def models():
    return [model.owned_by for model in client.models.list()]


print(json.dumps({"chat": tried(chat), "streamed": tried(streamed), "fields": tried(raw), "models": tried(models),
                  "forbidden": tried(client.files.list)}, default=str))  # fmt: skip
