import { must } from "../testdata/real_registry.ts";
import { needs } from "../testdata/needs.ts";

Deno.test({
  name: "every shell script passes shellcheck",
  ...needs({ programs: ["shellcheck", "git"] }),
  async fn() {
    const root = new URL("../", import.meta.url).pathname;
    const files = (await must(["git", "-C", root, "ls-files"])).trim().split("\n");
    const scripts = files.filter((file) => /\.sh$|^\.ci\/run$/.test(file));
    await must(["shellcheck", ...scripts], root);
  },
});
