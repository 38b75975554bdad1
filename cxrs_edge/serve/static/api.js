// Requests to this server: with the token, and again when it was busy.

const TOKEN_KEY = "cxrs-edge-token";

/** An answer that is no result: `kind` and `message` as in the JSON contract. */
export class Refusal extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** Take the token from the address (#token=...), where it must not stay. */
export function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    rememberToken(token);
    history.replaceState(null, "", location.pathname);
  }
}

export function rememberToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN_KEY) !== null;
}

/** The parsed JSON of a GET. */
export async function get(path) {
  return (await request(path, {})).json();
}

/** The response to a POST of a file's bytes; its name is not sent. A busy server is asked until `signal` aborts. */
export async function post(path, file, signal, onBusy) {
  const headers = { "Content-Type": "application/octet-stream" };
  for (;;) {
    try {
      return await request(path, { method: "POST", body: file, headers, signal });
    } catch (error) {
      if (error.kind !== "busy") throw error;
      onBusy(error.message);
      await sleep(error.retryAfter, signal);
    }
  }
}

async function request(path, options) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetchOrExplain(path, { ...options, headers });
  if (response.ok) return response;
  const refusal = await explain(response);
  refusal.retryAfter = Number(response.headers.get("Retry-After")) || 1;
  throw refusal;
}

async function fetchOrExplain(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("network", "the server does not answer; is it running, and reachable from here?");
  }
}

async function explain(response) {
  try {
    const { source, error } = await response.json();
    // Messages begin with what the server calls the file; here it has a name.
    const prefix = `${source}: `;
    const message = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
    return new Refusal(error.kind, message);
  } catch {
    return new Refusal(response.status === 503 ? "busy" : "error", `the server answered ${response.status}`);
  }
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
