// OpenAI's SDK for node, unmodified; BASE in the environment: in base-URL mode.
const OpenAI = require("openai");

const client = new OpenAI({apiKey: process.env.KEY, baseURL: process.env.BASE, maxRetries: 0});
const asked = {model: "lab-1", messages: [{role: "user", content: "hello"}]};

async function tried(what) {
  try {
    return {ok: await what()};
  } catch (error) {
    return {status: error.status, said: String(error), cause: String(error.cause)};
  }
}

async function streamed() {
  const parts = [];
  for await (const chunk of await client.chat.completions.create({...asked, stream: true})) {
    parts.push(chunk.choices[0].delta.content);
  }
  return parts;
}

(async () => {
  console.log(JSON.stringify({
    chat: await tried(async () => (await client.chat.completions.create(asked)).choices[0].message.content),
    streamed: await tried(streamed),
  }));
})();
