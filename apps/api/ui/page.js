// The search page: asks /answer for a stream and shows text, citations and facts as they come.
"use strict";

const byId = (id) => document.getElementById(id);
let language = navigator.language.startsWith("ko") ? "ko" : "en";
let answerId = null;
let running = null;

const say = (name) => MESSAGES[language][name];

function translate() {
  document.documentElement.lang = language;
  byId("language").textContent = say("other");
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = say(each.dataset.text);
}

function headers(more) {
  const key = byId("key").value.trim();
  return { "Content-Type": "application/json", ...(key ? { "X-API-Key": key } : {}), ...more };
}

// Yields [event, body] of a text/event-stream.
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const lines = rest.slice(0, end).split("\n");
      rest = rest.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(name + ": "))?.slice(name.length + 2);
      if (field("data")) yield [field("event"), JSON.parse(field("data"))];
    }
  }
}

// Text with each [n] as a link to its source; nothing is ever parsed as HTML.
function showText(target, text) {
  target.replaceChildren();
  for (const part of text.split(/(\[\d+\])/)) {
    const number = /^\[(\d+)\]$/.exec(part);
    if (!number) {
      target.append(part);
      continue;
    }
    const link = document.createElement("a");
    link.href = "#source-" + number[1];
    link.textContent = part;
    target.append(link);
  }
}

function sourceItem({ id, title, quote, url, place }) {
  const item = document.createElement("li");
  item.id = id;
  const name = document.createElement(url && /^https?:/.test(url) ? "a" : "strong");
  name.textContent = title || place;
  if (name.tagName === "A") {
    name.href = url;
    name.rel = "noreferrer";
  }
  const text = document.createElement("blockquote");
  text.textContent = quote;
  item.append(name, text);
  return item;
}

function showRecord(record) {
  answerId = record.answer_id;
  showText(byId("answer"), record.answer);
  const facts = [
    record.abstained ? say("abstained") : `${say("confidence")} ${Math.round(record.confidence * 100)} %`,
    `${say("servedBy")} ${record.model || record.served_by}`,
    `${Math.round(record.latency_ms)} ${say("milliseconds")}`,
    ...record.degraded,
  ];
  byId("facts").textContent = facts.join(" · ");
  const items = record.citations.map((each) => sourceItem({
    id: "source-" + each.index, title: each.title, quote: each.quote, url: each.source.url, place: each.doc_id,
  }));
  const hits = (record.hits || []).map((each, place) => sourceItem({
    id: "hit-" + place, title: each.title, quote: each.text, url: each.source.url, place: each.doc_id,
  }));
  byId("sources").replaceChildren(...(items.length ? items : hits));
  byId("sources-title").hidden = items.length + hits.length === 0;
  byId("opinion").hidden = false;
}

function showProblem(problem) {
  if (problem.status === 401) {
    byId("key-row").hidden = false;
    byId("state").textContent = say("keyNeeded");
    byId("key").focus();
    return;
  }
  byId("state").textContent = `${say("failed")}: ${problem.detail} (${problem.code}, ${problem.request_id})`;
}

async function ask(event) {
  event.preventDefault();
  running?.abort();
  running = new AbortController();
  const signal = running.signal;
  byId("state").textContent = say("working");
  byId("result").hidden = true;
  byId("opinion").hidden = true;
  byId("sources").replaceChildren();
  byId("facts").textContent = "";
  byId("sources-title").hidden = true;
  const body = { question: byId("question").value, mode: new FormData(byId("ask")).get("mode"), stream: true };
  try {
    const reply = await fetch("/answer", { method: "POST", headers: headers(), body: JSON.stringify(body), signal });
    if (!reply.ok) return showProblem(await reply.json());
    let text = "";
    byId("answer").replaceChildren();
    for await (const [name, part] of events(reply)) {
      if (name === "data") {
        byId("state").textContent = "";
        byId("result").hidden = false;
        showText(byId("answer"), (text += part.text));
      } else if (name === "complete") {
        byId("state").textContent = "";
        byId("result").hidden = false;
        showRecord(part);
      } else if (name === "error") showProblem(part);
    }
  } catch (error) {
    if (!signal.aborted) byId("state").textContent = `${say("failed")}: ${error.message}`;
  }
}

async function judge(event) {
  const thumb = event.target.dataset.thumb;
  if (!thumb || !answerId) return;
  const body = JSON.stringify({ answer_id: answerId, thumbs_up: thumb === "true" });
  const reply = await fetch("/api/v1/feedback", { method: "POST", headers: headers(), body });
  if (reply.ok) {
    byId("opinion").hidden = true;
    byId("state").textContent = say("thanks");
  } else showProblem(await reply.json());
}

byId("ask").addEventListener("submit", ask);
byId("opinion").addEventListener("click", judge);
byId("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  translate();
});
translate();
