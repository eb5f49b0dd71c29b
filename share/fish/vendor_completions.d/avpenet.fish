# fish completion for avpenet: the program itself answers, and fish completes file names where it has no answer.
function __avpenet_complete --argument-names action
    env _AVPENET_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$action _TYPER_COMPLETE_ARGS=(commandline -cp) avpenet 2>/dev/null
end
complete --command avpenet --no-files --condition '__avpenet_complete is-args' --arguments '(__avpenet_complete get-args)'
