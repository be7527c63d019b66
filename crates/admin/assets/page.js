// Shows what the OpenAPI document describes and lets it be tried. Text is only ever set as text, never as markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
const byId = (id) => document.getElementById(id);
let token = "";

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

async function call(method, path, body) {
  const headers = { authorization: `Bearer ${token}` };
  if (body) headers["content-type"] = "application/json";
  return fetch(path, { method: method.toUpperCase(), headers, body: body || undefined, cache: "no-store" });
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  const state = byId("state");
  try {
    const answer = await call("get", "api/openapi.json");
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail);
    show(said);
    byId("token").value = "";
    state.textContent = `${said.info.title} ${said.info.version}: ${said.info.description}`;
  } catch (error) {
    state.textContent = `Not opened: ${error.message}`;
  }
});

function show(spec) {
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const group = (item[method].tags || ["other"])[0];
      groups.set(group, [...(groups.get(group) || []), { method, path, operation: item[method] }]);
    }
  }
  const sections = [...groups].flatMap(([name, operations]) => [
    element("h2", {}, name),
    ...operations.map((one) => panel(spec, one)),
  ]);
  byId("operations").replaceChildren(...sections);
}

function panel(spec, { method, path, operation }) {
  const title = element("summary", {}, element("b", {}, method.toUpperCase()), element("code", {}, path), operation.summary || "");
  const form = element("form", {});
  if (operation.description) form.append(element("p", {}, operation.description));
  const inputs = (operation.parameters || []).map((parameter) => field(form, parameter));
  const body = operation.requestBody ? bodyField(form, spec, operation.requestBody) : null;
  const output = element("pre", { hidden: "" });
  form.append(element("button", {}, "Send"), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, body, output);
  });
  return element("details", { class: method === "delete" ? "danger" : "" }, title, form);
}

function field(form, parameter) {
  const input = element("input", { name: parameter.name });
  if (parameter.required) input.required = true;
  const row = element("label", { class: "row" }, parameter.name, input, element("small", {}, parameter.description || ""));
  form.append(row);
  return { parameter, input };
}

function bodyField(form, spec, requestBody) {
  const schema = resolve(spec, requestBody.content["application/json"].schema);
  const area = element("textarea", { spellcheck: "false", "aria-label": "body" });
  const required = schema.required || [];
  const sample = Object.fromEntries(required.map((name) => [name, ""]));
  area.value = required.length ? JSON.stringify(sample, null, 2) : "";
  form.append(area);
  for (const [name, property] of Object.entries(schema.properties || {})) {
    form.append(element("div", { class: "row" }, element("code", {}, name), element("small", {}, property.description || "")));
  }
  return area;
}

function resolve(spec, schema) {
  const name = (schema.$ref || "").split("/").pop();
  return name ? spec.components.schemas[name] || {} : schema;
}

async function send(method, path, inputs, body, output) {
  const query = new URLSearchParams();
  let target = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(parameter.name, input.value);
  }
  const url = target.slice(1) + (query.size ? `?${query}` : "");
  output.hidden = false;
  output.textContent = "…";
  try {
    const answer = await call(method, url, body && body.value.trim());
    const text = await answer.text();
    output.textContent = `${answer.status} ${answer.statusText}\n\n${pretty(text)}`;
  } catch (error) {
    output.textContent = `Not sent: ${error.message}`;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
