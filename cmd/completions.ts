/**
 * `davit completions <shell>`: a completion script made from the command tree, so that the two cannot drift.
 * The script is static: pressing TAB starts no process.
 *
 * @module
 */
import { Argument, Command, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { SETTING_KEYS, SETTINGS } from "../lib/settings_table.ts";
import { flagOf } from "../lib/settings.ts";
import type { Context } from "./context.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;

const HELP = `
Examples:
  davit completions bash > /etc/bash_completion.d/davit
  davit completions zsh > ~/.zsh/completions/_davit && echo 'source ~/.zsh/completions/_davit' >> ~/.zshrc
  davit completions fish > ~/.config/fish/completions/davit.fish

Exit status: 0; 64 an unknown shell; 78 bad configuration.`;

/** Builds the command; `root` is the tree to complete. */
export function completions(context: Context, root: CommandUnknownOpts): CommandUnknownOpts {
  return new Command("completions")
    .description("Print a completion script for a shell")
    .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(SHELLS))
    .addHelpText("after", HELP)
    .action((shell) => {
      const script = shell === "fish" ? fish(root) : shell === "zsh" ? zsh(root) : bash(root);
      context.result({ shell, script }, script);
    });
}

interface Node {
  /** "image import"; empty for davit itself. */
  path: string;
  command: CommandUnknownOpts;
}

function nodes(command: CommandUnknownOpts, path = ""): Node[] {
  const below = shown(command).flatMap((child) => nodes(child, `${path} ${child.name()}`.trim()));
  return [{ path, command }, ...below];
}

/** What help lists, which leaves hidden commands out. */
function shown(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return command.createHelp().visibleCommands(command) as CommandUnknownOpts[];
}

function flags(command: CommandUnknownOpts): { name: string; takesValue: boolean; description: string }[] {
  const own = command.options.filter(({ long, hidden }) => long && !hidden).map((
    { long, required, optional, description },
  ) => ({
    name: long!,
    takesValue: required || optional,
    description,
  }));
  return [...own, { name: "--help", takesValue: false, description: "display help for command" }];
}

function choicesByFlag(): [string, readonly string[]][] {
  return SETTING_KEYS.flatMap((key) => {
    const { choices } = SETTINGS[key];
    return choices ? [[flagOf(key), choices] as [string, readonly string[]]] : [];
  });
}

function bash(root: CommandUnknownOpts): string {
  const all = nodes(root);
  const paths = all.filter(({ path }) => path !== "").map(({ path }) => `"${path}"`).join(" | ");
  const values = choicesByFlag().map(([flag, words]) => `    ${flag}) words=(${words.join(" ")}) ;;`);
  const words = all.map(({ path, command }) => {
    const names = [
      ...shown(command).map((child) => child.name()),
      ...flags(command).map(({ name }) => name),
    ];
    if (path === "completions") names.unshift(...SHELLS);
    return `    "${path}") words=(${names.join(" ")}) ;;`;
  });
  return `# bash completion for davit; made by: davit completions bash
_davit() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} path="" next i words
  words=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="$path \${COMP_WORDS[i]}"
    case "\${next# }" in
      ${paths}) path=\${next# } ;;
    esac
  done
  case "$prev" in
${values.join("\n")}
  esac
  [[ \${#words[@]} -gt 0 ]] || case "$path" in
${words.join("\n")}
  esac
  COMPREPLY=()
  for next in "\${words[@]}"; do
    [[ $next == "$cur"* ]] && COMPREPLY+=("$next")
  done
}
complete -o default -F _davit davit
`;
}

function zsh(root: CommandUnknownOpts): string {
  return `# zsh completion for davit; made by: davit completions zsh; to be sourced
autoload -U +X compinit && compinit -u
autoload -U +X bashcompinit && bashcompinit
${bash(root)}`;
}

function fish(root: CommandUnknownOpts): string {
  const all = nodes(root);
  const choices = new Map(choicesByFlag());
  const lines = all.flatMap(({ path, command }) => {
    const when = `-n '__davit_at "${path}"'`;
    const children = shown(command).map((child) =>
      `complete -c davit -f ${when} -a ${child.name()} -d ${fishQuoted(firstLine(child.description()))}`
    );
    const options = flags(command).map(({ name, takesValue, description }) => {
      const words = choices.get(name);
      const value = words ? ` -x -a '${words.join(" ")}'` : takesValue ? " -r" : "";
      return `complete -c davit ${when} -l ${name.slice(2)}${value} -d ${fishQuoted(firstLine(description))}`;
    });
    const shells = path === "completions" ? [`complete -c davit -f ${when} -a '${SHELLS.join(" ")}'`] : [];
    return [...children, ...shells, ...options];
  });
  return `# fish completion for davit; made by: davit completions fish
function __davit_at
    set -l path
    for word in (commandline -opc)[2..]
        set -l next (string join " " $path $word)
        contains -- $next ${all.filter(({ path }) => path !== "").map(({ path }) => `'${path}'`).join(" ")}
        and set path $path $word
    end
    test "$(string join ' ' $path)" = "$argv[1]"
end
${lines.join("\n")}
`;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!;
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
