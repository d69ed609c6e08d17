// Opens a folder with transformers.js and answers prompts: node _open.mjs MODULES FOLDER REQUEST ANSWER
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, folder, request, answer] = process.argv.slice(2);
const found = createRequire(path.join(path.resolve(modules), "x.js")).resolve("@huggingface/transformers");
const { AutoModelForImageTextToText, AutoProcessor, RawImage, Tensor, env } = await import(pathToFileURL(found));
env.allowRemoteModels = false;
env.localModelPath = path.dirname(path.resolve(folder)) + path.sep;
const name = path.basename(folder);
const processor = await AutoProcessor.from_pretrained(name);
const model = await AutoModelForImageTextToText.from_pretrained(name, { dtype: "fp32", device: "cpu" });

const answers = [];
for (const { image, text, pixels, shape } of JSON.parse(fs.readFileSync(request))) {
  const content = [{ type: "image" }, { type: "text", text }];
  const prompt = processor.apply_chat_template([{ role: "user", content }], { add_generation_prompt: true });
  const picture = await RawImage.read(image);
  const isLlava = processor.constructor.name.startsWith("Llava");
  const inputs = await (isLlava ? processor(picture, prompt) : processor(prompt, picture));
  const own = inputs.pixel_values;
  let differ = 0;
  own.data.forEach((value, index) => { differ = Math.max(differ, Math.abs(value - pixels[index])); });
  // It resizes in a way of its own, so the pixels of training are handed to it.
  inputs.pixel_values = new Tensor("float32", Float32Array.from(pixels), own.dims);
  const { logits } = await model(inputs);
  const last = logits.dims.at(-1);
  const made = await model.generate({ ...inputs, max_new_tokens: 16 });
  const ids = Array.from(inputs.input_ids.data, Number);
  answers.push({
    prompt: ids,
    shape: own.dims,
    wanted: shape,
    pixels_differ: differ,
    logits: Array.from(logits.data.slice(-last)),
    said: Array.from(made.data, Number).slice(ids.length),
  });
}
fs.writeFileSync(answer, JSON.stringify(answers));
