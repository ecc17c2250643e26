// The Runtime API as a function for Node speaks it: a handler in CommonJS or ESM, async or with a callback.
//
// Started as `node node_client.mjs HANDLER` in the folder of the function's code. It says what went wrong in AWS's
// names (Runtime.ImportModuleError, Runtime.HandlerNotFound, Runtime.UserCodeSyntaxError, Runtime.UnhandledPromise-
// Rejection) and needs nothing but Node itself.
import { existsSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { format } from "node:util";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const prefix = "/2018-06-01/runtime";
const variables = process.env;
let requestId = "";

function call(method, suffix, body, headers) {
  return new Promise((resolve, reject) => {
    const all = body === undefined ? headers : { ...headers, "Content-Length": Buffer.byteLength(body) };
    const request = http.request({ host, port, agent, method, path: prefix + suffix, headers: all }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces) }));
    });
    request.on("error", reject);
    // The wait for the next event has no end: the process may be idle for hours.
    request.setTimeout(0);
    request.end(body);
  });
}

function described(error) {
  if (error instanceof Error || (error && typeof error === "object" && "message" in error)) {
    const trace = typeof error.stack === "string" ? error.stack.split("\n") : [];
    return { errorType: String(error.name ?? "Error"), errorMessage: String(error.message ?? ""), trace };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

class Problem extends Error {
  constructor(name, message, trace) {
    super(message);
    this.name = name;
    if (trace) this.stack = trace;
  }
}

async function loaded(file) {
  if (file.endsWith(".mjs")) return import(pathToFileURL(file).href);
  const require = createRequire(pathToFileURL(file).href);
  try {
    return require(file);
  } catch (error) {
    // The package says "type": "module", or a module waits at its top.
    if (error?.code === "ERR_REQUIRE_ESM" || error?.code === "ERR_REQUIRE_ASYNC_MODULE") return import(pathToFileURL(file).href);
    throw error;
  }
}

async function handlerOf(name) {
  const base = path.basename(name);
  const cut = base.indexOf(".");
  if (cut < 1) throw new Problem("Runtime.MalformedHandlerName", `Bad handler '${name}'`);
  const stem = path.resolve(process.cwd(), path.dirname(name), base.slice(0, cut));
  const file = [stem, `${stem}.js`, `${stem}.mjs`, `${stem}.cjs`].find((each) => existsSync(each) && path.extname(each));
  if (!file) throw new Problem("Runtime.ImportModuleError", `Error: Cannot find module '${base.slice(0, cut)}'`);
  let module;
  try {
    module = await loaded(file);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Problem("Runtime.UserCodeSyntaxError", `SyntaxError: ${error.message}`, error.stack);
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND")
      throw new Problem("Runtime.ImportModuleError", `Error: ${error.message}`, error.stack);
    throw error;
  }
  const parts = base.slice(cut + 1).split(".");
  const found = (root) => parts.reduce((value, part) => value?.[part], root);
  const handler = found(module) ?? found(module?.default);
  if (handler === undefined) throw new Problem("Runtime.HandlerNotFound", `${name} is undefined or not exported`);
  if (typeof handler !== "function") throw new Problem("Runtime.HandlerNotFound", `${name} is not a function`);
  return handler;
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const client = headers["lambda-runtime-client-context"];
  const identity = headers["lambda-runtime-cognito-identity"];
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    callbackWaitsForEmptyEventLoop: true,
    clientContext: client ? JSON.parse(client) : undefined,
    functionName: variables.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: variables.AWS_LAMBDA_FUNCTION_VERSION,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    identity: identity ? JSON.parse(identity) : undefined,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    logGroupName: variables.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: variables.AWS_LAMBDA_LOG_STREAM_NAME,
    memoryLimitInMB: variables.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  };
}

function ran(handler, event, context) {
  let empty;
  const outcome = new Promise((resolve, reject) => {
    const callback = (error, value) => (error === undefined || error === null ? resolve(value) : reject(error));
    context.done = callback;
    context.succeed = (value) => resolve(value);
    context.fail = (error) => reject(error ?? new Error("failed"));
    // Nothing is left to wait for and nobody has answered: so there is no answer.
    empty = () => resolve(null);
    process.once("beforeExit", empty);
    const result = handler(event, context, callback);
    if (result && typeof result.then === "function") result.then(resolve, reject);
    // Who takes no callback and gives no promise has answered by returning.
    else if (handler.length < 3 && result !== undefined) resolve(result);
  });
  return outcome.finally(() => process.removeListener("beforeExit", empty));
}

function errorHeaders(document) {
  return { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": document.errorType.replace(/[^\x20-\x7e]/g, "?") };
}

function logged(level, ...values) {
  const text = format(...values).replace(/\n/g, "\r");
  process.stdout.write(`${new Date().toISOString()}\t${requestId}\t${level}\t${text}\n`);
}

function tellConsole() {
  console.log = (...values) => logged("INFO", ...values);
  console.info = console.log;
  console.debug = (...values) => logged("DEBUG", ...values);
  console.warn = (...values) => logged("WARN", ...values);
  console.error = (...values) => logged("ERROR", ...values);
}

async function serve(handler) {
  for (;;) {
    const next = await call("GET", "/invocation/next");
    if (next.status !== 200) throw new Error(`next was answered with ${next.status}`);
    requestId = next.headers["lambda-runtime-aws-request-id"];
    variables._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"] ?? "";
    let body;
    try {
      const value = await ran(handler, JSON.parse(next.body.toString("utf8")), contextOf(next.headers));
      body = JSON.stringify(value === undefined ? null : value);
    } catch (error) {
      const document = described(error);
      console.error("Invoke Error", JSON.stringify(document));
      await call("POST", `/invocation/${requestId}/error`, JSON.stringify(document), errorHeaders(document));
      continue;
    }
    await call("POST", `/invocation/${requestId}/response`, body, { "Content-Type": "application/json" });
  }
}

async function fall(name, error) {
  const inner = described(error);
  const document = { errorType: name, errorMessage: `${inner.errorType}: ${inner.errorMessage}`, trace: inner.trace };
  console.error(name === "Runtime.UnhandledPromiseRejection" ? "Unhandled Promise Rejection" : "Uncaught Exception", JSON.stringify(document));
  const place = requestId ? `/invocation/${requestId}/error` : "/init/error";
  // The one connection of the agent may be in use by the call that will never be answered.
  agent.maxSockets = 2;
  try {
    await call("POST", place, JSON.stringify(document), errorHeaders(document));
  } finally {
    process.exit(requestId ? 128 : 1);
  }
}

tellConsole();
process.on("unhandledRejection", (reason) => fall("Runtime.UnhandledPromiseRejection", reason));
process.on("uncaughtException", (error) => fall("Runtime.UncaughtException", error));
let handler;
try {
  handler = await handlerOf(process.argv[2] ?? variables._HANDLER ?? "");
} catch (error) {
  const document = described(error);
  console.error("Init Error", JSON.stringify(document));
  await call("POST", "/init/error", JSON.stringify(document), errorHeaders(document));
  process.exit(1);
}
await serve(handler);
