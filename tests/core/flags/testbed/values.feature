Feature: values, errors and flags that say nothing

  Background:
    Given an evaluator

  Scenario Outline: a flag without rules
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "STATIC"
    Examples:
      | key      | type    | fallback | value                                 |
      | switch   | Boolean | false    | true                                  |
      | greeting | String  | bye      | 안녕하세요                            |
      | passages | Integer | 1        | 12                                    |
      | weight   | Float   | 1        | 0.25                                  |
      | largest  | Integer | 1        | 9007199254740991                      |
      | layout   | Object  | {}       | {\"columns\": 1, \"title\": \"답\"}   |
      | no       | Boolean | true     | false                                 |
      | zero     | Integer | 1        | 0                                     |
      | nothing  | String  | some     |                                       |
      | empty-layout | Object | {\"a\": 1} | {}                               |
      | whole-weight | Float  | 0.1    | 10.0                                  |

  Scenario Outline: another kind than the caller wants
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    When the flag was evaluated with details
    Then the resolved details value should be "<fallback>"
    And the error-code should be "TYPE_MISMATCH"
    Examples:
      | key      | type    | fallback |
      | switch   | String  | no       |
      | switch   | Integer | 1        |
      | switch   | Float   | 0.5      |
      | greeting | Boolean | false    |
      | passages | Boolean | false    |
      | weight   | Integer | 1        |
      | passages | Object  | {}       |

  Scenario: an unknown flag
    Given a String-flag with key "no-such-flag" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "mine"
    And the error-code should be "FLAG_NOT_FOUND"

  Scenario Outline: a flag that is switched off
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    When the flag was evaluated with details
    Then the resolved details value should be "<fallback>"
    And the reason should be "DISABLED"
    Examples:
      | key              | type    | fallback |
      | withdrawn        | Boolean | true     |
      | withdrawn-text   | String  | bye      |
      | withdrawn-count  | Integer | 1        |
      | withdrawn-weight | Float   | 0.1      |
      | withdrawn-layout | Object  | {}       |

  Scenario Outline: nothing, by a rule
    Given a Integer-flag with key "zero-by-rule" and a fallback value "7"
    And a context containing a key "city", with type "String" and with value "<city>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "<reason>"
    Examples:
      | city  | value | reason          |
      | seoul | 0     | TARGETING_MATCH |
      | busan | 1     | DEFAULT         |

  Scenario: what is said of a flag comes before what is said of all
    Given a Boolean-flag with key "labelled" and a fallback value "false"
    When the flag was evaluated with details
    Then the resolved metadata should contain
      | key     | metadata_type | value    |
      | team    | String        | answers  |
      | tries   | Integer       | 3        |
      | share   | Float         | 0.5      |
      | public  | Boolean       | true     |
      | set     | String        | examples |
      | version | String        | 1        |

  Scenario: what is said of all flags
    Given a Boolean-flag with key "switch" and a fallback value "false"
    When the flag was evaluated with details
    Then the resolved metadata should contain
      | key  | metadata_type | value    |
      | team | String        | nobody   |
      | set  | String        | examples |

  Scenario Outline: no default variant
    Given a <type>-flag with key "<key>" and a fallback value "<fallback>"
    And a context containing a key "city", with type "String" and with value "<city>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "<reason>"
    Examples:
      | key            | type    | fallback | city  | value | reason          |
      | undecided      | Boolean | true     |       | true  | DEFAULT         |
      | undecided-rule | String  | mine     | jeju  | mine  | DEFAULT         |
      | undecided-rule | String  | mine     | busan | first | TARGETING_MATCH |
