// A service in another language that lives on the tokens of a control server. Node 18 or newer, nothing else.
const { WXMP_CONTROL: server, WXMP_CONTROL_KEY: key, WXMP_APPID: appid } = process.env;
const platform = process.env.WXMP_ENDPOINT ?? "https://api.weixin.qq.com";
let held = null;

async function ask(path, said) {
  const request = { headers: { Authorization: `Bearer ${key}` }, ...(said && { method: "POST", body: JSON.stringify(said) }) };
  const answer = await (await fetch(`${server}/v1/accounts/${appid}/access_token${path}`, request)).json();
  if (answer.error) throw new Error(`${answer.error}: ${answer.message}`);
  held = { ...answer, look: Date.now() + Math.min(30, answer.expires_in / 20) * 1000 };
}

async function call(path) {
  for (let tries = 0; ; tries++) {
    if (!held || Date.now() > held.look) await ask("");
    const answer = await (await fetch(`${platform}${path}?access_token=${held.access_token}`)).json();
    if (![40001, 40014, 42001].includes(answer.errcode) || tries === 2) return answer;
    await ask("/replace", { generation: held.generation, errcode: answer.errcode, path });
  }
}

for (let calls = Number(process.argv[2] ?? 1); calls > 0; calls--) {
  console.log(JSON.stringify(await call("/cgi-bin/get_api_domain_ip")));
  if (calls > 1) await new Promise((resume) => process.stdin.once("data", resume));
}
process.exit();
