"""Drives the gateway with the Anthropic client as its users do."""

import os

import anthropic

base, key, model = os.environ["BASE_URL"], os.environ["API_KEY"], os.environ["MODEL"]
client = anthropic.Anthropic(base_url=base, api_key=key, max_retries=0, timeout=20)
hello = [{"role": "user", "content": "Say hello"}]

message = client.messages.create(model=model, max_tokens=8, messages=hello)
assert message.content[0].text and message.usage.output_tokens == 8, message

with client.messages.stream(model=model, max_tokens=8, messages=hello) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text and final.usage.output_tokens == 8, final

assert client.messages.count_tokens(model=model, messages=hello).input_tokens > 0

try:
    client.messages.create(model="nope", max_tokens=8, messages=hello)
    raise AssertionError("an unknown model was served")
except anthropic.NotFoundError:
    pass
try:
    anthropic.Anthropic(base_url=base, api_key="wrong", max_retries=0).messages.create(model=model, max_tokens=8, messages=hello)
    raise AssertionError("a wrong key was let in")
except anthropic.AuthenticationError:
    pass
