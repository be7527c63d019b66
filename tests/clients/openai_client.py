"""Drives the gateway with the OpenAI client as its users do. Fails with an assertion that names what is wrong."""

import os

import openai

base, key, model = os.environ["BASE_URL"] + "/v1", os.environ["API_KEY"], os.environ["MODEL"]
client = openai.OpenAI(base_url=base, api_key=key, max_retries=0, timeout=20)
hello = [{"role": "user", "content": "Say hello"}]

# Chat, whole.
chat = client.chat.completions.create(model=model, messages=hello, max_tokens=8)
assert chat.choices[0].message.content and chat.usage.completion_tokens == 8, chat

# Chat, streamed, without and with usage.
chunks = list(client.chat.completions.create(model=model, messages=hello, max_tokens=8, stream=True))
assert chunks[-1].choices[0].finish_reason == "length" and all(c.usage is None for c in chunks), chunks
with_usage = {"include_usage": True}
chunks = list(client.chat.completions.create(model=model, messages=hello, max_tokens=8, stream=True, stream_options=with_usage))
assert chunks[-1].usage.completion_tokens == 8 and chunks[-1].choices == [], chunks[-1]

# Several choices.
chat = client.chat.completions.create(model=model, messages=hello, max_tokens=4, n=2)
assert len(chat.choices) == 2

# Tools.
tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
chat = client.chat.completions.create(model=model, messages=hello, max_tokens=64, tools=[tool], tool_choice="required")
assert chat.choices[0].message.tool_calls[0].function.name == "get_weather", chat

# Completions, embeddings, models.
text = client.completions.create(model=model, prompt="Hello", max_tokens=4)
assert text.choices[0].text and text.usage.total_tokens
vectors = client.embeddings.create(model=model, input=["one", "two"])
assert len(vectors.data) == 2 and vectors.usage.prompt_tokens
assert [m.id for m in client.models.list()] == [model]
assert client.models.retrieve(model).id == model

# Errors have the types that the client's users catch.
def expect(error, call):
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(f"{error.__name__} was not raised")

expect(openai.NotFoundError, lambda: client.chat.completions.create(model="nope", messages=hello))
expect(openai.NotFoundError, lambda: client.models.retrieve("org/nope"))
expect(openai.AuthenticationError, lambda: openai.OpenAI(base_url=base, api_key="sk-wrong", max_retries=0).models.list())
refused = expect(openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=hello, max_tokens=-1))
assert refused.request_id, "an error has the request's id"

# A client that leaves midway.
stream = client.chat.completions.create(model=model, messages=hello, max_tokens=400, stream=True)
next(iter(stream))
stream.close()
