// SPDX-License-Identifier: MIT
#include "cli/completion_scripts.h"

#include "base/error.h"

namespace moe::cli {
namespace {

// bash cuts words at = and : too. It completes what is behind the last of them, but the program is to see the
// whole word.
constexpr std::string_view kBash = R"(# bash completion for moe; made by `moe completion bash`
_moe() {
  local rest=${COMP_LINE:0:COMP_POINT} bare word i
  local -a words=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    bare=${rest#"${rest%%[![:space:]]*}"}
    ((${#word} > ${#bare})) && word=$bare
    if ((i > 0)) && [[ $rest == "$bare" ]]; then
      words[${#words[@]}-1]+=$word
    else
      words+=("$word")
    fi
    rest=${bare:${#word}}
  done
  local current=${words[${#words[@]}-1]} program=${words[0]/#\~\//$HOME/} answer
  answer=$("$program" __complete "${words[@]:1}" 2>/dev/null) || return
  local breaks= kept=
  [[ $COMP_WORDBREAKS == *=* ]] && breaks+='='
  [[ $COMP_WORDBREAKS == *:* ]] && breaks+=':'
  [[ -n $breaks ]] && kept=${current%"${current##*[$breaks]}"}
  local kind=${answer%%$'\t'*} before goes_on=1 lines
  mapfile -t lines <<<"$answer"
  before=${lines[0]#*$'\t'}
  COMPREPLY=()
  for word in "${lines[@]:1}"; do
    word=${word%%$'\t'*}
    [[ -n $word ]] || continue
    [[ $word == *[.=] ]] || goes_on=0
    COMPREPLY+=("${word#"$kept"}")
  done
  if ((${#COMPREPLY[@]} == 0)); then
    [[ $kind == all ]] && compopt -o default
    [[ $kind == folders ]] && compopt -o dirnames
    return
  fi
  ((goes_on)) && compopt -o nospace
  if [[ $kind != words ]]; then
    local action=file files
    [[ $kind == folders ]] && action=directory
    mapfile -t files < <(compgen -A "$action" -- "${current#"$before"}")
    ((${#files[@]})) && compopt -o filenames && COMPREPLY+=("${files[@]}")
  fi
}
complete -F _moe moe
)";

constexpr std::string_view kZsh = R"(#compdef moe
# zsh completion for moe; made by `moe completion zsh`
_moe() {
  local program=${(Q)words[1]} line word kind before
  program=${program/#\~\//$HOME/}
  local -a given lines whole goes_on
  given=("${(@Q)words[2,CURRENT-1]}")
  lines=("${(@f)$("$program" __complete "${given[@]}" "${(Q)PREFIX}" 2>/dev/null)}")
  kind=${lines[1]%%$'\t'*}
  before=${lines[1]#*$'\t'}
  for line in "${(@)lines[2,-1]}"; do
    word=${line%%$'\t'*}
    [[ -n $word ]] || continue
    line=${word//:/\\:}:${line#*$'\t'}
    if [[ $word == *[.=] ]]; then
      goes_on+=("$line")
    else
      whole+=("$line")
    fi
  done
  (( $#whole )) && _describe -t words 'word' whole
  (( $#goes_on )) && _describe -t settings 'setting' goes_on -S ''
  if [[ $kind != words ]]; then
    [[ -n $before ]] && compset -P "${(b)before}"
    if [[ $kind == folders ]]; then
      _files -/
    else
      _files
    fi
  fi
}
compdef _moe moe
# Loaded by name, this file is the function's first call.
if [[ ${funcstack[1]} == _moe ]]; then
  _moe
fi
)";

constexpr std::string_view kFish = R"(# fish completion for moe; made by `moe completion fish`
function __moe_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l lines ($program __complete $words[2..-1] "$current" 2>/dev/null)
    for line in $lines[2..-1]
        echo $line
    end
    set -l head (string split -m 1 \t -- $lines[1])
    set -l value (string sub -s (math 1 + (string length -- "$head[2]")) -- "$current")
    switch "$head[1]"
        case all
            for path in (__fish_complete_path "$value")
                echo "$head[2]$path"
            end
        case folders
            for path in (__fish_complete_directories "$value" '')
                echo "$head[2]$path"
            end
    end
end
complete -c moe -f -a '(__moe_complete)'
)";

}  // namespace

std::string_view completion_script(std::string_view shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  CHECK(shell == "fish");
  return kFish;
}

}  // namespace moe::cli
