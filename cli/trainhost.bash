# Completion for bash. The words come from the command itself, so they are those of its version.
_trainhost() {
  local command=$1 word=$2 words
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=$("$command" complete 2>/dev/null)
  elif [ "${word#-}" != "$word" ]; then
    words=$("$command" complete "${COMP_WORDS[1]}" 2>/dev/null)
  else
    return # Anything else is a file, which `complete -o default` finds.
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _trainhost trainhost
