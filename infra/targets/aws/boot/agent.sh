# The machine of an image build before Image Builder speaks to it: what it speaks to comes from the package snapshot,
# because there is no way out to where Image Builder's own script would fetch it.
use_package_snapshot
install_agents
